"""The projector: exactly once in effect, whatever the cuts, failures and new versions of models."""

import asyncio
import random
import time
from typing import Any

import asyncpg
import msgspec
import psycopg
import pytest
from msgspec import field
from msgspec.structs import replace

from projections import ALL
from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami import AmiEvent, Int
from schemas.log import NewEvent, RingledgerEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from services.asterisk.ami.protocol import LedgerProtocol
from services.database.connection import connect
from services.log.append import append_events
from services.log.continuity import RewoundError
from services.projector.projector import Projector
from tests.captures import wire
from tests.support.polling import TIMEOUT_SECONDS, eventually
from tests.support.restoring import rewind


class Noted(AmiEvent, frozen=True, kw_only=True, gc=False):
    name: str = field(name="Name", default="")
    size: Int = field(name="Size", default=0)


class Note(Row):
    name: str
    times: int = 0
    size: int = 0


def by_name(e: Noted) -> Key:
    return (e.name,)


def noted(row: Note | None, e: Noted) -> Note:
    row = row or Note(pbx=e.pbx, tm_update=e.at, name=e.name)
    return replace(row, times=row.times + 1, size=row.size + e.size)


def doubled(row: Note | None, e: Noted) -> Note:
    return replace(noted(row, e), size=(row.size if row else 0) + 2 * e.size)


def breaks_at_three(row: Note | None, e: Noted) -> Note:
    if row and row.times == 2:
        raise KeyError("three")
    return noted(row, e)


def overflows_at_three(row: Note | None, e: Noted) -> Note:
    return replace(noted(row, e), size=2**70 if row and row.times == 2 else 1)


def notes(fold: Any = noted, name: str = "notes", version: int = 1) -> ReadModel:
    lists = {"Notes": None}
    on = {"Note": Handler(Noted, by_name, fold)}
    return ReadModel(name=name, version=version, row=Note, key=("name",), on=on, lists=lists)


class Pen:
    """Writes events into the log."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._next = 1

    async def write(self, *events: NewEvent) -> None:
        await append_events(self._connection, "pbx", 1, self._next, events)
        self._next += len(events)

    async def note(self, *names: str, size: str = "1", action_id: str = "") -> None:
        more = f"ActionID: {action_id}\r\n" if action_id else ""
        raws = [f"Event: Note\r\nName: {name}\r\nSize: {size}\r\n{more}\r\n".encode() for name in names]
        await self.write(*(NewEvent("ami", "Note", None, time.time(), raw) for raw in raws))

    async def said(self, data: bytes) -> None:
        received: list[NewEvent] = []
        protocol = LedgerProtocol(received.extend, lambda _: None)
        protocol.closed = False
        protocol.data_received(data)
        await self.write(*received)

    async def ours(self, event: RingledgerEvent) -> None:
        raw = msgspec.json.encode(event)
        await self.write(NewEvent("ringledger", type(event).__name__, None, time.time(), raw))


@pytest.fixture
def pen(connection: asyncpg.Connection) -> Pen:
    return Pen(connection)


async def opened(connection: asyncpg.Connection, *models: ReadModel) -> Projector:
    projector = Projector(connection, models)
    await projector.open()
    return projector


async def finish(projector: Projector, limit: int = 5000) -> None:
    while await projector.advance(limit):
        pass


async def rows(connection: asyncpg.Connection, table: str = "notes") -> dict[str, tuple[int, int]]:
    return {r["name"]: (r["times"], r["size"]) for r in await connection.fetch(f"SELECT * FROM {table}")}


async def checkpoint(connection: asyncpg.Connection, model: str = "notes") -> list[dict[str, Any]]:
    query = "SELECT place, version, position, changed, error FROM checkpoint WHERE model = $1 ORDER BY place"
    return [dict(r) for r in await connection.fetch(query, model)]


async def test_tables_are_the_same_at_random_batch_cuts(connection: asyncpg.Connection) -> None:
    received: list[NewEvent] = []
    protocol = LedgerProtocol(received.extend, lambda _: None)
    protocol.closed = False
    protocol.data_received(wire("rich22"))
    await append_events(connection, "pbx", 1, 1, received)
    await finish(await opened(connection, *ALL), limit=1 << 30)
    queries = {m.name: f"SELECT * FROM {m.name} ORDER BY {', '.join(('pbx', *m.key))}" for m in ALL}
    once = {name: await connection.fetch(query) for name, query in queries.items()}
    for model in ALL:
        await connection.execute(f"DROP TABLE {model.name}")
    await connection.execute("DELETE FROM checkpoint")
    projector = await opened(connection, *ALL)
    cuts = random.Random(22)
    while await projector.advance(cuts.choice([1, 2, 17, 400, 3000])):
        pass
    assert projector.stopped == {}
    for name, query in queries.items():
        assert await connection.fetch(query) == once[name]


async def test_a_raised_version_is_built_beside_the_served_table_and_swapped(
    connection: asyncpg.Connection, pen: Pen, url: str
) -> None:
    await pen.note("a", "b", "a", "c", "a", "b")
    await finish(await opened(connection, notes(), notes(name="other")))
    heard: list[dict[str, Any]] = []
    listening = await connect(url)
    await listening.add_listener("ringledger_model", lambda *args: heard.append(msgspec.json.decode(args[3])))

    raised = await opened(connection, notes(doubled, version=2), notes(name="other"))
    assert await raised.advance(2) == 2
    assert await rows(connection, "model.notes") == {"a": (3, 3), "b": (2, 2), "c": (1, 1)}
    assert await rows(connection, "rebuild.notes") == {"a": (1, 2), "b": (1, 2)}
    assert [(c["place"], c["version"], c["position"]) for c in await checkpoint(connection)] == [
        ("model", 1, 6),
        ("rebuild", 2, 2),
    ]
    await pen.note("d")  # the other model goes on meanwhile, and the new table has to reach it
    await raised.advance(2)
    assert await rows(connection, "other") == {"a": (3, 3), "b": (2, 2), "c": (1, 1), "d": (1, 1)}
    assert "d" not in await rows(connection, "model.notes")
    await finish(raised, limit=2)
    assert await rows(connection, "model.notes") == {"a": (3, 6), "b": (2, 4), "c": (1, 2), "d": (1, 2)}
    assert await checkpoint(connection) == [
        {"place": "model", "version": 2, "position": 7, "changed": 7, "error": None}
    ]
    assert await connection.fetchval("SELECT to_regclass('rebuild.notes')") is None
    await listening.fetchval("SELECT 1")  # notifications come before the answer
    assert {"position": 7, "changed": ["notes"]} in heard
    await listening.close()

    await pen.note("e")
    assert await raised.advance() == 1  # one group again: one event read once for both
    assert (await rows(connection))["e"] == (1, 2)


async def test_all_raised_models_swap_at_the_end(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note("a", "a", "b")
    await finish(await opened(connection, notes()))
    await finish(await opened(connection, notes(doubled, version=2)), limit=1)
    assert await rows(connection, "model.notes") == {"a": (2, 4), "b": (1, 2)}
    assert [c["place"] for c in await checkpoint(connection)] == ["model"]


async def test_a_raised_version_on_an_empty_log(connection: asyncpg.Connection) -> None:
    await opened(connection, notes())
    await finish(await opened(connection, notes(doubled, version=2)))
    assert [(c["place"], c["version"]) for c in await checkpoint(connection)] == [("model", 2)]


async def test_a_rebuild_resumes_unless_the_version_changed(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note(*"abcdef")
    await finish(await opened(connection, notes()))
    await (await opened(connection, notes(doubled, version=2))).advance(2)
    again = await opened(connection, notes(doubled, version=2))
    assert [(f.schema, f.position) for f in again.cursors] == [("rebuild", 2)]
    third = await opened(connection, notes(noted, version=3))
    assert [(f.schema, f.position) for f in third.cursors] == [("rebuild", 0)]
    back = await opened(connection, notes())
    assert [(f.schema, f.position) for f in back.cursors] == [("model", 6)]
    assert await connection.fetchval("SELECT to_regclass('rebuild.notes')") is None
    assert [c["place"] for c in await checkpoint(connection)] == ["model"]


@pytest.mark.parametrize("fold", [breaks_at_three, overflows_at_three])
async def test_a_failing_model_stops_alone_and_is_tried_again(
    connection: asyncpg.Connection, pen: Pen, fold: Any
) -> None:
    await pen.note("a", "b", "a")
    projector = await opened(connection, notes(), notes(fold, "broken"))
    await finish(projector)
    await pen.note("b", "a", "b")
    await finish(projector)
    assert await rows(connection) == {"a": (3, 3), "b": (3, 3)}
    assert (await rows(connection, "broken"))["a"][0] == 2
    (stopped,) = await checkpoint(connection, "broken")
    assert stopped["position"] == 3
    assert stopped["error"] == projector.stopped["broken"]
    assert "position 5 (Note): KeyError" in stopped["error"] or "writing rows of 4..6" in stopped["error"]

    mended = await opened(connection, notes(), notes(noted, "broken"))
    await finish(mended)
    assert mended.stopped == {}
    assert await checkpoint(connection, "broken") == [
        {"place": "model", "version": 1, "position": 6, "changed": 6, "error": None}
    ]


async def test_models_that_meet_go_on_together(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note(*"abcdefghij")
    await finish(await opened(connection, notes()))
    projector = await opened(connection, notes(), notes(name="late"))
    for _ in range(6):
        await pen.note("z")  # the foremost never stands still
        await projector.advance(4)
    assert len({f.position for f in projector.cursors}) == 1
    assert await rows(connection, "late") == await rows(connection)


BREAK = """
CREATE FUNCTION no_memory() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no memory' USING ERRCODE = 'out_of_memory'; END $$;
CREATE TRIGGER break BEFORE UPDATE ON ledger.checkpoint EXECUTE FUNCTION no_memory();
"""


async def test_a_failed_transaction_leaves_memory_unchanged(connection: asyncpg.Connection, pen: Pen) -> None:
    """The rows, and what a snapshot under way has seen, are as if the failed attempt had never been."""
    projector = await opened(connection, notes())
    await pen.note("old", "kept")
    await pen.ours(SnapshotStarted(7))
    await finish(projector)
    await pen.note("kept", action_id="ringledger/7/Notes")
    await pen.ours(SnapshotListed(7, "Notes", "complete"))
    await pen.ours(SnapshotCompleted(7))
    await connection.execute(BREAK)
    for _ in range(2):
        with pytest.raises(asyncpg.OutOfMemoryError):
            await projector.advance()
        assert set(await rows(connection)) == {"old", "kept"}
        assert set(projector.cursors[0].state.snapshots["pbx"].marks) == set()
    await connection.execute("DROP TRIGGER break ON ledger.checkpoint")
    await finish(projector)
    assert await rows(connection) == {"kept": (2, 2)}
    assert projector.cursors[0].state.snapshots == {}


async def test_no_model_is_blamed_for_a_lost_connection(url: str, connection: asyncpg.Connection, pen: Pen) -> None:
    """The connection is lost after reading and folding, just before the rows are written."""
    own = await connect(url, search_path="model, ledger")
    backend = await own.fetchval("SELECT pg_backend_pid()")

    def cut(row: Note | None, e: Noted) -> Note:
        with psycopg.connect(url) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
        return noted(row, e)

    projector = await opened(own, notes(cut))
    await pen.note("a")
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await projector.advance()
    assert projector.stopped == {}
    assert [(c["position"], c["error"]) for c in await checkpoint(connection)] == [(0, None)]
    own.terminate()
    await finish(await opened(connection, notes()))
    assert await rows(connection) == {"a": (1, 1)}


async def test_a_value_that_does_not_fit_is_rejected(connection: asyncpg.Connection, pen: Pen) -> None:
    projector = await opened(connection, notes())
    await pen.note("a")
    await pen.note("a", size="many")
    await pen.note("a")
    await finish(projector)
    assert await rows(connection) == {"a": (2, 2)}
    assert [tuple(r) for r in await connection.fetch("SELECT model, position, name FROM unfit")] == [
        ("notes", 2, "Note")
    ]


async def test_it_follows_a_growing_log_until_stopped(url: str, connection: asyncpg.Connection) -> None:
    other = await connect(url)
    stop, wake = asyncio.Event(), asyncio.Event()
    await connection.add_listener("ledger", lambda *_: wake.set())
    running = asyncio.create_task((await opened(connection, notes())).run(stop, wake))
    heard: asyncio.Queue[Any] = asyncio.Queue()
    await other.add_listener("ringledger_model", lambda *args: heard.put_nowait(msgspec.json.decode(args[3])))
    pen = Pen(other)
    for position in (1, 2):
        await pen.note("a")
        async with asyncio.timeout(300):
            while (await heard.get())["position"] < position:
                pass
    assert await rows(other, "model.notes") == {"a": (2, 2)}
    stop.set()
    wake.set()
    await running
    await other.close()


async def test_it_ends_when_the_log_came_back_shorter(url: str, connection: asyncpg.Connection) -> None:
    other = await connect(url)
    pen = Pen(other)
    await pen.note("a")
    await pen.note("a")
    projector = await opened(connection, notes())
    running = asyncio.create_task(projector.run(asyncio.Event(), asyncio.Event()))

    async def folded() -> bool:
        return bool(await other.fetchval("SELECT min(position) FROM ledger.checkpoint") == 2)

    await eventually(folded, "both notes are folded")
    await rewind(other, 1)
    with pytest.raises(RewoundError):
        await asyncio.wait_for(running, TIMEOUT_SECONDS)
    await other.close()


async def test_it_writes_nothing_when_its_checkpoint_has_moved(connection: asyncpg.Connection, pen: Pen) -> None:
    projector = await opened(connection, notes())
    await pen.note("a")
    await finish(projector)
    await connection.execute("UPDATE checkpoint SET position = 0")
    await pen.note("a")
    with pytest.raises(RewoundError):
        await projector.advance()
    assert await rows(connection) == {"a": (1, 1)}
