"""The projector applies each event exactly once, whatever the batches, failures and new versions of models."""

import asyncio
import random
from typing import Any

import asyncpg
import msgspec
import psycopg
import pytest

from projections import ALL
from schemas.log import NewEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from services.asterisk.ami.protocol import LedgerProtocol
from services.database.connection import connect
from services.log.append import append_events
from services.log.continuity import RewoundError
from services.projector import swap
from tests.captures import wire
from tests.support.model_rows import rows
from tests.support.note_model import (
    Note,
    NoteEvent,
    NoteWriter,
    add_double,
    add_note,
    break_at_three,
    note_rows,
    notes,
    overflow_at_three,
)
from tests.support.polling import TIMEOUT_SECONDS, eventually
from tests.support.projectors import finish, open_projector
from tests.support.restoring import rewind


async def checkpoint(connection: asyncpg.Connection, model: str = "notes") -> list[dict[str, Any]]:
    query = "SELECT place, version, position, changed, error FROM checkpoint WHERE model = $1 ORDER BY place"
    return [dict(r) for r in await connection.fetch(query, model)]


async def test_tables_are_the_same_at_random_batch_cuts(connection: asyncpg.Connection) -> None:
    received: list[NewEvent] = []
    protocol = LedgerProtocol(received.extend, lambda _: None)
    protocol.closed = False
    protocol.data_received(wire("rich22"))
    await append_events(connection, "pbx", 1, 1, received)
    await finish(await open_projector(connection, *ALL), limit=1 << 30)
    once = await rows(connection)
    for model in ALL:
        await swap.drop(connection, model.name, "model")
    await connection.execute("DELETE FROM checkpoint")
    projector = await open_projector(connection, *ALL)
    cuts = random.Random(22)
    while await projector.advance(cuts.choice([1, 2, 17, 400, 3000])):
        pass
    assert projector.stopped == {}
    again = await rows(connection)
    for name, table in once.items():
        assert again[name] == table, name


async def test_a_raised_version_replaces_the_served_table(
    connection: asyncpg.Connection, writer: NoteWriter, url: str
) -> None:
    await writer.write_notes("a", "b", "a", "c", "a", "b")
    await finish(await open_projector(connection, notes(), notes(name="other")))
    notifications: list[dict[str, Any]] = []
    listening = await connect(url)
    await listening.add_listener("ringledger_model", lambda *args: notifications.append(msgspec.json.decode(args[3])))

    raised = await open_projector(connection, notes(add_double, version=2), notes(name="other"))
    assert await raised.advance(2) == 2
    assert await note_rows(connection, "model.notes") == {"a": (3, 3), "b": (2, 2), "c": (1, 1)}
    assert await note_rows(connection, "rebuild.notes") == {"a": (1, 2), "b": (1, 2)}
    assert [(c["place"], c["version"], c["position"]) for c in await checkpoint(connection)] == [
        ("model", 1, 6),
        ("rebuild", 2, 2),
    ]
    await writer.write_notes("d")  # the other model advances meanwhile, and the new table must reach its position
    await raised.advance(2)
    assert await note_rows(connection, "other") == {"a": (3, 3), "b": (2, 2), "c": (1, 1), "d": (1, 1)}
    assert "d" not in await note_rows(connection, "model.notes")
    await finish(raised, limit=2)
    assert await note_rows(connection, "model.notes") == {"a": (3, 6), "b": (2, 4), "c": (1, 2), "d": (1, 2)}
    assert await checkpoint(connection) == [
        {"place": "model", "version": 2, "position": 7, "changed": 7, "error": None}
    ]
    assert await connection.fetchval("SELECT to_regclass('rebuild.notes')") is None
    await listening.fetchval("SELECT 1")  # notifications arrive before the reply
    assert {"position": 7, "changed": ["notes"]} in notifications
    await listening.close()

    await writer.write_notes("e")
    assert await raised.advance() == 1  # one group again: the event is read once for both models
    assert (await note_rows(connection))["e"] == (1, 2)


async def test_all_raised_models_swap_at_the_end(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    await writer.write_notes("a", "a", "b")
    await finish(await open_projector(connection, notes()))
    await finish(await open_projector(connection, notes(add_double, version=2)), limit=1)
    assert await note_rows(connection, "model.notes") == {"a": (2, 4), "b": (1, 2)}
    assert [c["place"] for c in await checkpoint(connection)] == ["model"]


async def test_a_raised_version_swaps_on_an_empty_log(connection: asyncpg.Connection) -> None:
    await open_projector(connection, notes())
    await finish(await open_projector(connection, notes(add_double, version=2)))
    assert [(c["place"], c["version"]) for c in await checkpoint(connection)] == [("model", 2)]


async def test_a_rebuild_resumes_unless_the_version_changed(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    await writer.write_notes(*"abcdef")
    await finish(await open_projector(connection, notes()))
    await (await open_projector(connection, notes(add_double, version=2))).advance(2)
    again = await open_projector(connection, notes(add_double, version=2))
    assert [(f.schema, f.position) for f in again.cursors] == [("rebuild", 2)]
    third = await open_projector(connection, notes(add_note, version=3))
    assert [(f.schema, f.position) for f in third.cursors] == [("rebuild", 0)]
    back = await open_projector(connection, notes())
    assert [(f.schema, f.position) for f in back.cursors] == [("model", 6)]
    assert await connection.fetchval("SELECT to_regclass('rebuild.notes')") is None
    assert [c["place"] for c in await checkpoint(connection)] == ["model"]


@pytest.mark.parametrize("fold", [break_at_three, overflow_at_three])
async def test_a_failing_model_stops_alone_until_a_restart(
    connection: asyncpg.Connection, writer: NoteWriter, fold: Any
) -> None:
    await writer.write_notes("a", "b", "a")
    projector = await open_projector(connection, notes(), notes(fold, "broken"))
    await finish(projector)
    await writer.write_notes("b", "a", "b")
    await finish(projector)
    assert await note_rows(connection) == {"a": (3, 3), "b": (3, 3)}
    assert (await note_rows(connection, "broken"))["a"][0] == 2
    (stopped,) = await checkpoint(connection, "broken")
    assert stopped["position"] == 3
    assert stopped["error"] == projector.stopped["broken"]
    assert "position 5 (Note): KeyError" in stopped["error"] or "writing rows of 4..6" in stopped["error"]

    repaired = await open_projector(connection, notes(), notes(add_note, "broken"))
    await finish(repaired)
    assert repaired.stopped == {}
    assert await checkpoint(connection, "broken") == [
        {"place": "model", "version": 1, "position": 6, "changed": 6, "error": None}
    ]


async def test_models_at_one_position_advance_together(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    await writer.write_notes(*"abcdefghij")
    await finish(await open_projector(connection, notes()))
    projector = await open_projector(connection, notes(), notes(name="late"))
    for _ in range(6):
        await writer.write_notes("z")  # the foremost model always has an event to fold
        await projector.advance(4)
    assert len({f.position for f in projector.cursors}) == 1
    assert await note_rows(connection, "late") == await note_rows(connection)


BREAK = """
CREATE FUNCTION no_memory() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no memory' USING ERRCODE = 'out_of_memory'; END $$;
CREATE TRIGGER break BEFORE UPDATE ON ledger.checkpoint EXECUTE FUNCTION no_memory();
"""


async def test_a_failed_transaction_leaves_memory_unchanged(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    """After a failed attempt, the rows and the marks of an open snapshot are those from before it."""
    projector = await open_projector(connection, notes())
    await writer.write_notes("old", "new")
    await writer.write_own(SnapshotStarted(7))
    await finish(projector)
    await writer.write_notes("new", action_id="ringledger/7/Notes")
    await writer.write_own(SnapshotListed(7, "Notes", "complete"))
    await writer.write_own(SnapshotCompleted(7))
    await connection.execute(BREAK)
    for _ in range(2):
        with pytest.raises(asyncpg.OutOfMemoryError):
            await projector.advance()
        assert set(await note_rows(connection)) == {"old", "new"}
        assert set(projector.cursors[0].state.snapshots["pbx"].marks) == set()
    await connection.execute("DROP TRIGGER break ON ledger.checkpoint")
    await finish(projector)
    assert await note_rows(connection) == {"new": (2, 2)}
    assert projector.cursors[0].state.snapshots == {}


async def test_a_lost_connection_stops_no_model(url: str, connection: asyncpg.Connection, writer: NoteWriter) -> None:
    """The connection is lost after reading and folding, just before the rows are written."""
    doomed = await connect(url, search_path="model, ledger")
    backend = await doomed.fetchval("SELECT pg_backend_pid()")

    def cut(row: Note | None, e: NoteEvent) -> Note:
        with psycopg.connect(url) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
        return add_note(row, e)

    projector = await open_projector(doomed, notes(cut))
    await writer.write_notes("a")
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await projector.advance()
    assert projector.stopped == {}
    assert [(c["position"], c["error"]) for c in await checkpoint(connection)] == [(0, None)]
    doomed.terminate()
    await finish(await open_projector(connection, notes()))
    assert await note_rows(connection) == {"a": (1, 1)}


async def test_an_unreadable_value_is_rejected(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    projector = await open_projector(connection, notes())
    await writer.write_notes("a")
    await writer.write_notes("a", size="many")
    await writer.write_notes("a")
    await finish(projector)
    assert await note_rows(connection) == {"a": (2, 2)}
    assert [tuple(r) for r in await connection.fetch("SELECT model, position, name FROM unfit")] == [
        ("notes", 2, "Note")
    ]


async def test_the_projector_follows_the_log_until_stopped(url: str, connection: asyncpg.Connection) -> None:
    other = await connect(url)
    stop, wake = asyncio.Event(), asyncio.Event()
    await connection.add_listener("ledger", lambda *_: wake.set())
    running = asyncio.create_task((await open_projector(connection, notes())).run(stop, wake))
    notifications: asyncio.Queue[Any] = asyncio.Queue()
    await other.add_listener("ringledger_model", lambda *args: notifications.put_nowait(msgspec.json.decode(args[3])))
    writer = NoteWriter(other)
    for position in (1, 2):
        await writer.write_notes("a")
        async with asyncio.timeout(300):
            while (await notifications.get())["position"] < position:
                pass
    assert await note_rows(other, "model.notes") == {"a": (2, 2)}
    stop.set()
    wake.set()
    await running
    await other.close()


async def test_the_projector_ends_on_a_rewound_log(url: str, connection: asyncpg.Connection) -> None:
    other = await connect(url)
    writer = NoteWriter(other)
    await writer.write_notes("a")
    await writer.write_notes("a")
    projector = await open_projector(connection, notes())
    running = asyncio.create_task(projector.run(asyncio.Event(), asyncio.Event()))

    async def has_folded() -> bool:
        return bool(await other.fetchval("SELECT min(position) FROM ledger.checkpoint") == 2)

    await eventually(has_folded, "both notes are folded")
    await rewind(other, 1)
    with pytest.raises(RewoundError):
        await asyncio.wait_for(running, TIMEOUT_SECONDS)
    await other.close()


async def test_the_projector_writes_nothing_after_a_moved_checkpoint(
    connection: asyncpg.Connection, writer: NoteWriter
) -> None:
    projector = await open_projector(connection, notes())
    await writer.write_notes("a")
    await finish(projector)
    await connection.execute("UPDATE checkpoint SET position = 0")
    await writer.write_notes("a")
    with pytest.raises(RewoundError):
        await projector.advance()
    assert await note_rows(connection) == {"a": (1, 1)}
