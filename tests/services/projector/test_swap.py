"""A rebuild folds a model beside the served table, and swaps the two while no client reads them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest

from projections.engine.model import ReadModel
from services.database.connection import connect, snapshot
from services.projector.catch_up import FIRST_EVENTS
from services.projector.projector import Projector
from tests.support.log_clock import set_clock
from tests.support.note_model import NoteWriter, add_double, break_at_three, note_rows, notes
from tests.support.projectors import finish, open_projector

REQUEST = "INSERT INTO ledger.rebuild (model, upto) SELECT unnest($1::text[]), $2::bigint"
REQUESTS = "SELECT model, ended IS NOT NULL AS ended, position, error FROM ledger.rebuild ORDER BY number"
PLACES = "SELECT place, version, position, changed, swaps FROM ledger.checkpoint WHERE model = $1 ORDER BY place"


@pytest.fixture
async def reader(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of a client that reads tables."""
    reader = await connect(url, search_path="model, ledger")
    yield reader
    await reader.close()


async def places(connection: asyncpg.Connection, model: str = "notes") -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(PLACES, model)]


async def requests(connection: asyncpg.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(REQUESTS)]


async def request_rebuild(projector: Projector, *names: str, upto: int | None = None) -> None:
    await projector._connection.execute(REQUEST, names, upto)
    await projector.start_requested()


async def test_the_served_table_stays_current_during_a_rebuild(
    connection: asyncpg.Connection, writer: NoteWriter
) -> None:
    await writer.write_notes("a", "b", "a", "c")
    projector = await open_projector(connection, notes(), notes(name="other"))
    await finish(projector)
    await connection.execute("UPDATE model.notes SET size = 100 WHERE name = 'a'")
    await request_rebuild(projector, "notes")
    await writer.write_notes("b")
    assert await projector.advance(2) == 1 + 2
    assert await note_rows(connection, "model.notes") == {"a": (2, 100), "b": (2, 2), "c": (1, 1)}
    assert await note_rows(connection, "rebuild.notes") == {"a": (1, 1), "b": (1, 1)}
    await finish(projector, limit=2)
    assert await note_rows(connection, "model.notes") == {"a": (2, 2), "b": (2, 2), "c": (1, 1)}
    assert await places(connection) == [("model", 1, 5, 5, 1)]
    assert await places(connection, "other") == [("model", 1, 5, 5, 0)]
    assert await requests(connection) == [("notes", True, 5, None)]
    assert await connection.fetchval("SELECT to_regclass('rebuild.notes')") is None
    await writer.write_notes("d")
    assert await projector.advance() == 1  # both models advance as one group again
    assert (await note_rows(connection))["d"] == (1, 1)


async def test_caught_up_models_swap_in_one_transaction(
    connection: asyncpg.Connection, reader: asyncpg.Connection, writer: NoteWriter
) -> None:
    await writer.write_notes("a")
    projector = await open_projector(connection, notes(), notes(name="other"), notes(name="third"))
    await finish(projector)
    notifications: list[dict[str, Any]] = []
    await reader.add_listener("ringledger_model", lambda *args: notifications.append(msgspec.json.decode(args[3])))
    await request_rebuild(projector, "notes", "other")
    await finish(projector)
    await reader.fetchval("SELECT 1")  # notifications arrive before the reply
    assert notifications == [{"position": 1, "changed": ["notes", "other"]}]
    stamp = "SELECT count(DISTINCT xmin::text) FROM pg_class WHERE oid IN ('notes'::regclass, 'other'::regclass)"
    assert await connection.fetchval(stamp) == 1


async def test_a_swap_waits_for_readers_of_old_tables(
    connection: asyncpg.Connection, reader: asyncpg.Connection, writer: NoteWriter
) -> None:
    await writer.write_notes("a", "b")
    projector = await open_projector(connection, notes(), notes(name="other"))
    await finish(projector)
    await connection.execute("UPDATE model.notes SET size = 100")
    async with snapshot(reader):
        assert await reader.fetchval("SELECT position FROM checkpoint WHERE model = 'notes'") == 2
        await request_rebuild(projector, "notes")
        await finish(projector)
        await writer.write_notes("c")
        await finish(projector)  # a model that waits for its swap keeps folding
        assert (await note_rows(connection, "model.notes"))["c"] == (1, 1)
        assert await note_rows(reader, "model.notes") == {"a": (1, 100), "b": (1, 100)}
        assert [place for place, *_ in await places(connection)] == ["model", "rebuild"]
    projector._swap_at = 0.0  # the time between two attempts has passed
    await finish(projector)
    assert await places(connection) == [("model", 1, 3, 3, 1)]
    assert await note_rows(reader, "model.notes") == {"a": (1, 1), "b": (1, 1), "c": (1, 1)}


async def test_a_snapshot_without_the_lock_sees_newer_tables(
    connection: asyncpg.Connection, reader: asyncpg.Connection, writer: NoteWriter
) -> None:
    """Without `connection.snapshot` a reader opens the new table, and its snapshot does not see the new rows."""
    await writer.write_notes("a", "b")
    projector = await open_projector(connection, notes())
    await finish(projector)
    async with reader.transaction(isolation="repeatable_read", readonly=True):
        assert await reader.fetchval("SELECT head.position FROM head") == 2
        await request_rebuild(projector, "notes")
        await finish(projector)
        assert await note_rows(reader, "model.notes") == {}


async def test_a_failed_rebuild_leaves_the_served_model(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    await writer.write_notes("a", "a", "b")
    projector = await open_projector(connection, notes(break_at_three), notes(name="other"))
    await finish(projector)
    await request_rebuild(projector, "notes", "other")
    await writer.write_notes("c")
    await projector.advance(1)
    await connection.execute("UPDATE rebuild.notes SET times = 2 WHERE name = 'a'")  # so the next note is the third
    for cursor in projector.cursors:
        cursor.recent.clear()  # only this test writes into the projector's tables
    await writer.write_notes("c")
    await finish(projector)
    assert projector.stopped == {}
    assert await places(connection) == [("model", 1, 5, 5, 0)]
    assert await note_rows(connection, "model.notes") == {"a": (2, 2), "b": (1, 1), "c": (2, 2)}
    (failed, done) = await requests(connection)
    assert failed[:3] == ("notes", True, None)
    assert "position 2 (Note): KeyError('three')" in failed[3]
    assert done == ("other", True, 5, None)
    assert await connection.fetchval("SELECT to_regclass('rebuild.notes')") is None


async def test_a_request_restarts_a_stopped_model(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    await writer.write_notes("a", "b", "a")
    projector = await open_projector(connection, notes(), notes(name="other"))
    await finish(projector)
    await connection.execute("DROP TABLE model.notes")
    await writer.write_notes("b")
    await finish(projector)
    assert "UndefinedTableError" in projector.stopped["notes"]
    await request_rebuild(projector, "notes")
    await finish(projector)
    assert projector.stopped == {}
    assert await note_rows(connection, "model.notes") == {"a": (2, 2), "b": (2, 2)}
    assert await connection.fetchval("SELECT error FROM checkpoint WHERE model = 'notes'") is None
    await writer.write_notes("a")
    await finish(projector)
    assert (await note_rows(connection))["a"] == (3, 3)


async def test_a_model_continues_from_its_rebuilt_position(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    await writer.write_notes("a", "b", "a", "a", "b")
    projector = await open_projector(connection, notes(break_at_three), notes(name="other"))
    await finish(projector)
    assert await note_rows(connection, "model.notes") == {}  # the five notes were one batch
    repaired = await open_projector(connection, notes(), notes(name="other"))
    repaired.cursors = [f for f in repaired.cursors if f.model.name != "notes"]  # as if the model had stopped
    await request_rebuild(repaired, "notes", upto=3)
    served: list[tuple[Any, ...]] = []
    while not served or served[-1][2] < 5:
        await repaired.advance(2)
        served += await places(connection)
    assert ("model", 1, 3, 3, 1) in served
    assert await requests(connection) == [("notes", True, 3, None)]
    assert await note_rows(connection, "model.notes") == {"a": (3, 3), "b": (2, 2)}


async def test_an_overtaken_rebuild_is_abandoned(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    await writer.write_notes("a", "b", "c")
    projector = await open_projector(connection, notes(), notes(name="other"))
    await finish(projector)
    await request_rebuild(projector, "notes", upto=2)
    await finish(projector)
    assert await places(connection) == [("model", 1, 3, 3, 0)]
    assert await requests(connection) == [("notes", True, None, "the served table is already at 3")]
    assert await connection.fetchval("SELECT to_regclass('rebuild.notes')") is None


async def test_no_view_falls_back_for_a_new_model(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    """The rebuild is level with the new model from the start, but is not swapped in before position 6."""
    await writer.write_notes(*"abcdef")
    await finish(await open_projector(connection, notes()))
    projector = await open_projector(connection, notes(add_double, version=2), notes(name="new"))
    positions = []
    while await projector.advance(2):
        positions.append(
            await connection.fetchval("SELECT position FROM checkpoint WHERE model = 'notes' AND place = 'model'")
        )
    assert positions == [6, 6, 6]
    assert await note_rows(connection) == dict.fromkeys("abcdef", (1, 2))


async def test_the_next_projector_continues_a_rebuild(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    await writer.write_notes(*"abcdef")
    projector = await open_projector(connection, notes(), notes(name="other"))
    await finish(projector)
    await request_rebuild(projector, "notes", upto=6)
    await projector.advance(2)
    again = await open_projector(connection, notes(), notes(name="other"))
    assert [(f.model.name, f.schema, f.position, f.until < 7) for f in again.cursors] == [
        ("notes", "model", 6, False),
        ("notes", "rebuild", 2, True),
        ("other", "model", 6, False),
    ]
    await finish(again)
    assert await requests(connection) == [("notes", True, 6, None)]


async def test_a_request_joins_a_raised_versions_rebuild(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    await writer.write_notes(*"abcdef")
    await finish(await open_projector(connection, notes()))
    raised = await open_projector(connection, notes(add_double, version=2))
    await raised.advance(2)
    await request_rebuild(raised, "notes")
    assert [(f.schema, f.position) for f in raised.cursors] == [("rebuild", 2)]
    await finish(raised)
    assert await requests(connection) == [("notes", True, 6, None)]
    assert await places(connection) == [("model", 2, 6, 6, 1)]


async def test_a_request_restarts_a_stopped_raised_version(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    await writer.write_notes("a", "b", "a", "a")
    await finish(await open_projector(connection, notes()))
    raised = await open_projector(connection, notes(break_at_three, version=2))
    await finish(raised, limit=1)
    assert list(raised.stopped) == ["notes"]
    await request_rebuild(raised, "notes")
    assert [(f.schema, f.position) for f in raised.cursors] == [("rebuild", 0)]
    await finish(raised, limit=1)
    ((_, ended, position, error),) = await requests(connection)
    assert (ended, position) == (True, None)
    assert "position 4 (Note): KeyError" in error
    assert [place for place, *_ in await places(connection)] == ["model", "rebuild"]  # the next start tries again


async def test_a_request_for_an_unknown_model_is_answered(connection: asyncpg.Connection) -> None:
    await request_rebuild(await open_projector(connection, notes()), "news")
    assert await requests(connection) == [("news", True, None, "the running projector has no such model")]


async def test_a_foreign_view_stops_no_projector(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    await writer.write_notes("a")
    projector = await open_projector(connection, notes(), notes(name="other"))
    await finish(projector)
    await connection.execute("CREATE VIEW public.foreign_view AS SELECT name FROM model.notes")
    await request_rebuild(projector, "notes", "other")
    await finish(projector)
    (blocked, other) = await requests(connection)
    assert "serving it at 1: DependentObjectsStillExistError" in blocked[3]
    assert other == ("other", True, 1, None)
    await writer.write_notes("a")
    await finish(projector)
    assert await connection.fetchval("SELECT count(*) FROM public.foreign_view") == 1
    assert await note_rows(connection) == {"a": (2, 2)}


async def test_rejected_events_are_those_of_the_served_table(
    connection: asyncpg.Connection, writer: NoteWriter
) -> None:
    unfit = "SELECT place, position FROM ledger.unfit ORDER BY place, position"
    await writer.write_notes("a", size="many")
    await writer.write_notes("a", "b")
    projector = await open_projector(connection, notes())
    await finish(projector)
    await connection.execute(
        "INSERT INTO ledger.unfit VALUES ('notes', 3, 'Note', 'of a fold that was repaired since')"
    )
    await request_rebuild(projector, "notes")
    await projector.advance(1)
    assert [tuple(r) for r in await connection.fetch(unfit)] == [("model", 1), ("model", 3), ("rebuild", 1)]
    await finish(projector)
    assert [tuple(r) for r in await connection.fetch(unfit)] == [("model", 1)]


async def test_a_rebuild_reads_across_the_ends_of_months(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    for day in ("2031-01-31 23:59:59", "2031-02-01", "2031-04-30", "2031-12-31"):
        await set_clock(connection, f"{day}+00")
        await writer.write_notes("a", "b", "a")
    projector = await open_projector(connection, notes(), notes(name="other"))
    await finish(projector)
    await request_rebuild(projector, "notes")
    await finish(projector, limit=2)  # the steps cross the ends of months
    assert await note_rows(connection) == {"a": (8, 8), "b": (4, 4)}
    assert await requests(connection) == [("notes", True, 12, None)]


async def test_models_behind_take_short_steps(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    await writer.write_notes(*("a" for _ in range(4 * FIRST_EVENTS)))
    projector = await open_projector(connection, notes())
    assert await projector.advance() == 4 * FIRST_EVENTS
    await request_rebuild(projector, "notes")
    assert await projector.advance() == FIRST_EVENTS


async def test_an_idle_projector_notices_a_request(
    url: str, connection: asyncpg.Connection, writer: NoteWriter
) -> None:
    """No notification announces a request: an idle projector looks for one itself."""
    model: ReadModel = notes()
    await writer.write_notes("a")
    projector = await open_projector(connection, model)
    stop, wake = asyncio.Event(), asyncio.Event()
    other = await connect(url)
    notified = asyncio.Event()
    await other.add_listener("ringledger_model", lambda *a: notified.set() if '"changed":["notes"]' in a[3] else None)
    running = asyncio.create_task(projector.run(stop, wake))
    async with asyncio.timeout(300):
        await notified.wait()
        notified.clear()
        await other.execute(REQUEST, ["notes"], None)
        await notified.wait()
    assert await requests(other) == [("notes", True, 1, None)]
    stop.set()
    wake.set()
    await running
    await other.close()
