"""A model is folded anew beside the one that is served, and the two are swapped when nobody can see it."""

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
from tests.services.projector.test_projector import Pen, breaks_at_three, doubled, finish, notes, opened, rows

ASK = "INSERT INTO ledger.rebuild (model, upto) SELECT unnest($1::text[]), $2::bigint"
ASKED = "SELECT model, ended IS NOT NULL AS ended, position, error FROM ledger.rebuild ORDER BY number"
PLACES = "SELECT place, version, position, changed, swaps FROM ledger.checkpoint WHERE model = $1 ORDER BY place"


@pytest.fixture
async def looking(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of somebody who reads."""
    opened = await connect(url, search_path="model, ledger")
    yield opened
    await opened.close()


@pytest.fixture
def pen(connection: asyncpg.Connection) -> Pen:
    return Pen(connection)


async def places(connection: asyncpg.Connection, model: str = "notes") -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(PLACES, model)]


async def asked(connection: asyncpg.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(ASKED)]


async def ask(projector: Projector, *names: str, upto: int | None = None) -> None:
    await projector._connection.execute(ASK, names, upto)
    await projector.start_requested()


async def test_the_served_table_stays_current_during_a_rebuild(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note("a", "b", "a", "c")
    projector = await opened(connection, notes(), notes(name="other"))
    await finish(projector)
    await connection.execute("UPDATE model.notes SET size = 100 WHERE name = 'a'")
    await ask(projector, "notes")
    await pen.note("b")
    assert await projector.advance(2) == 1 + 2
    assert await rows(connection, "model.notes") == {"a": (2, 100), "b": (2, 2), "c": (1, 1)}
    assert await rows(connection, "rebuild.notes") == {"a": (1, 1), "b": (1, 1)}
    await finish(projector, limit=2)
    assert await rows(connection, "model.notes") == {"a": (2, 2), "b": (2, 2), "c": (1, 1)}
    assert await places(connection) == [("model", 1, 5, 5, 1)]
    assert await places(connection, "other") == [("model", 1, 5, 5, 0)]
    assert await asked(connection) == [("notes", True, 5, None)]
    assert await connection.fetchval("SELECT to_regclass('rebuild.notes')") is None
    await pen.note("d")
    assert await projector.advance() == 1  # one group again
    assert (await rows(connection))["d"] == (1, 1)


async def test_caught_up_models_swap_in_one_transaction(
    connection: asyncpg.Connection, looking: asyncpg.Connection, pen: Pen
) -> None:
    await pen.note("a")
    projector = await opened(connection, notes(), notes(name="other"), notes(name="third"))
    await finish(projector)
    heard: list[dict[str, Any]] = []
    await looking.add_listener("ringledger_model", lambda *args: heard.append(msgspec.json.decode(args[3])))
    await ask(projector, "notes", "other")
    await finish(projector)
    await looking.fetchval("SELECT 1")  # notifications come before the answer
    assert heard == [{"position": 1, "changed": ["notes", "other"]}]
    stamp = "SELECT count(DISTINCT xmin::text) FROM pg_class WHERE oid IN ('notes'::regclass, 'other'::regclass)"
    assert await connection.fetchval(stamp) == 1


async def test_a_swap_waits_for_readers_of_old_tables(
    connection: asyncpg.Connection, looking: asyncpg.Connection, pen: Pen
) -> None:
    await pen.note("a", "b")
    projector = await opened(connection, notes(), notes(name="other"))
    await finish(projector)
    await connection.execute("UPDATE model.notes SET size = 100")
    async with snapshot(looking):
        assert await looking.fetchval("SELECT position FROM checkpoint WHERE model = 'notes'") == 2
        await ask(projector, "notes")
        await finish(projector)
        await pen.note("c")
        await finish(projector)  # who waits for the swap goes on meanwhile
        assert (await rows(connection, "model.notes"))["c"] == (1, 1)
        assert await rows(looking, "model.notes") == {"a": (1, 100), "b": (1, 100)}
        assert [place for place, *_ in await places(connection)] == ["model", "rebuild"]
    projector._swap_at = 0.0  # that time has passed
    await finish(projector)
    assert await places(connection) == [("model", 1, 3, 3, 1)]
    assert await rows(looking, "model.notes") == {"a": (1, 1), "b": (1, 1), "c": (1, 1)}


async def test_a_snapshot_without_the_lock_sees_newer_tables(
    connection: asyncpg.Connection, looking: asyncpg.Connection, pen: Pen
) -> None:
    """The reason for `connection.snapshot`: rows that are there are not seen."""
    await pen.note("a", "b")
    projector = await opened(connection, notes())
    await finish(projector)
    async with looking.transaction(isolation="repeatable_read", readonly=True):
        assert await looking.fetchval("SELECT head.position FROM head") == 2
        await ask(projector, "notes")
        await finish(projector)
        assert await rows(looking, "model.notes") == {}


async def test_a_failed_rebuild_leaves_the_served_model(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note("a", "a", "b")
    projector = await opened(connection, notes(breaks_at_three), notes(name="other"))
    await finish(projector)
    await ask(projector, "notes", "other")
    await pen.note("c")
    await projector.advance(1)
    await connection.execute("UPDATE rebuild.notes SET times = 2 WHERE name = 'a'")  # so the next one is the third
    await pen.note("c")
    await finish(projector)
    assert projector.stopped == {}
    assert await places(connection) == [("model", 1, 5, 5, 0)]
    assert await rows(connection, "model.notes") == {"a": (2, 2), "b": (1, 1), "c": (2, 2)}
    (failed, done) = await asked(connection)
    assert failed[:3] == ("notes", True, None)
    assert "position 2 (Note): KeyError('three')" in failed[3]
    assert done == ("other", True, 5, None)
    assert await connection.fetchval("SELECT to_regclass('rebuild.notes')") is None


async def test_a_model_that_stopped_is_started_anew(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note("a", "b", "a")
    projector = await opened(connection, notes(), notes(name="other"))
    await finish(projector)
    await connection.execute("DROP TABLE model.notes")
    await pen.note("b")
    await finish(projector)
    assert "UndefinedTableError" in projector.stopped["notes"]
    await ask(projector, "notes")
    await finish(projector)
    assert projector.stopped == {}
    assert await rows(connection, "model.notes") == {"a": (2, 2), "b": (2, 2)}
    assert await connection.fetchval("SELECT error FROM checkpoint WHERE model = 'notes'") is None
    await pen.note("a")
    await finish(projector)
    assert (await rows(connection))["a"] == (3, 3)


async def test_a_model_continues_from_the_position_it_was_built_to(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note("a", "b", "a", "a", "b")
    projector = await opened(connection, notes(breaks_at_three), notes(name="other"))
    await finish(projector)
    assert await rows(connection, "model.notes") == {}  # all five were one batch
    mended = await opened(connection, notes(), notes(name="other"))
    mended.cursors = [f for f in mended.cursors if f.model.name != "notes"]  # as if it had stopped
    await ask(mended, "notes", upto=3)
    served: list[tuple[Any, ...]] = []
    while not served or served[-1][2] < 5:
        await mended.advance(2)
        served += await places(connection)
    assert ("model", 1, 3, 3, 1) in served
    assert await asked(connection) == [("notes", True, 3, None)]
    assert await rows(connection, "model.notes") == {"a": (3, 3), "b": (2, 2)}


async def test_one_that_was_overtaken_is_taken_back(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note("a", "b", "c")
    projector = await opened(connection, notes(), notes(name="other"))
    await finish(projector)
    await ask(projector, "notes", upto=2)
    await finish(projector)
    assert await places(connection) == [("model", 1, 3, 3, 0)]
    assert await asked(connection) == [("notes", True, None, "the served table is already at 3")]
    assert await connection.fetchval("SELECT to_regclass('rebuild.notes')") is None


async def test_no_view_goes_back_for_a_new_model(connection: asyncpg.Connection, pen: Pen) -> None:
    """All are at the beginning together, so the rebuilt one has caught up with the only one that is served anew."""
    await pen.note(*"abcdef")
    await finish(await opened(connection, notes()))
    projector = await opened(connection, notes(doubled, version=2), notes(name="new"))
    seen = []
    while await projector.advance(2):
        seen.append(
            await connection.fetchval("SELECT position FROM checkpoint WHERE model = 'notes' AND place = 'model'")
        )
    assert seen == [6, 6, 6]
    assert await rows(connection) == dict.fromkeys("abcdef", (1, 2))


async def test_a_rebuild_goes_on_with_the_next_projector(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note(*"abcdef")
    projector = await opened(connection, notes(), notes(name="other"))
    await finish(projector)
    await ask(projector, "notes", upto=6)
    await projector.advance(2)
    again = await opened(connection, notes(), notes(name="other"))
    assert [(f.model.name, f.schema, f.position, f.until < 7) for f in again.cursors] == [
        ("notes", "model", 6, False),
        ("notes", "rebuild", 2, True),
        ("other", "model", 6, False),
    ]
    await finish(again)
    assert await asked(connection) == [("notes", True, 6, None)]


async def test_a_request_joins_the_rebuild_of_a_raised_version(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note(*"abcdef")
    await finish(await opened(connection, notes()))
    raised = await opened(connection, notes(doubled, version=2))
    await raised.advance(2)
    await ask(raised, "notes")
    assert [(f.schema, f.position) for f in raised.cursors] == [("rebuild", 2)]
    await finish(raised)
    assert await asked(connection) == [("notes", True, 6, None)]
    assert await places(connection) == [("model", 2, 6, 6, 1)]


async def test_a_raised_version_that_stopped_is_started_anew(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note("a", "b", "a", "a")
    await finish(await opened(connection, notes()))
    raised = await opened(connection, notes(breaks_at_three, version=2))
    await finish(raised, limit=1)
    assert list(raised.stopped) == ["notes"]
    await ask(raised, "notes")
    assert [(f.schema, f.position) for f in raised.cursors] == [("rebuild", 0)]
    await finish(raised, limit=1)
    ((_, ended, position, error),) = await asked(connection)
    assert (ended, position) == (True, None)
    assert "position 4 (Note): KeyError" in error
    assert [place for place, *_ in await places(connection)] == ["model", "rebuild"]  # tried again at the next start


async def test_what_a_projector_does_not_know_is_answered(connection: asyncpg.Connection) -> None:
    await ask(await opened(connection, notes()), "news")
    assert await asked(connection) == [("news", True, None, "the running projector has no such model")]


async def test_a_foreign_view_of_a_table_stops_no_projector(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note("a")
    projector = await opened(connection, notes(), notes(name="other"))
    await finish(projector)
    await connection.execute("CREATE VIEW public.theirs AS SELECT name FROM model.notes")
    await ask(projector, "notes", "other")
    await finish(projector)
    (theirs, ours) = await asked(connection)
    assert "serving it at 1: DependentObjectsStillExistError" in theirs[3]
    assert ours == ("other", True, 1, None)
    await pen.note("a")
    await finish(projector)
    assert await connection.fetchval("SELECT count(*) FROM public.theirs") == 1
    assert await rows(connection) == {"a": (2, 2)}


async def test_rejected_events_are_those_of_the_served_table(connection: asyncpg.Connection, pen: Pen) -> None:
    unfit = "SELECT place, position FROM ledger.unfit ORDER BY place, position"
    await pen.note("a", size="many")
    await pen.note("a", "b")
    projector = await opened(connection, notes())
    await finish(projector)
    await connection.execute("INSERT INTO ledger.unfit VALUES ('notes', 3, 'Note', 'of a fold that was mended since')")
    await ask(projector, "notes")
    await projector.advance(1)
    assert [tuple(r) for r in await connection.fetch(unfit)] == [("model", 1), ("model", 3), ("rebuild", 1)]
    await finish(projector)
    assert [tuple(r) for r in await connection.fetch(unfit)] == [("model", 1)]


async def test_it_reads_over_the_edges_of_months(connection: asyncpg.Connection, pen: Pen) -> None:
    clock = "CREATE OR REPLACE FUNCTION ledger.clock() RETURNS timestamptz LANGUAGE sql RETURN timestamptz '{}+00'"
    for day in ("2031-01-31 23:59:59", "2031-02-01", "2031-04-30", "2031-12-31"):
        await connection.execute(clock.format(day))
        await pen.note("a", "b", "a")
    projector = await opened(connection, notes(), notes(name="other"))
    await finish(projector)
    await ask(projector, "notes")
    await finish(projector, limit=2)  # steps that begin before an edge and end after it
    assert await rows(connection) == {"a": (8, 8), "b": (4, 4)}
    assert await asked(connection) == [("notes", True, 12, None)]


async def test_models_behind_take_short_steps(connection: asyncpg.Connection, pen: Pen) -> None:
    await pen.note(*("a" for _ in range(4 * FIRST_EVENTS)))
    projector = await opened(connection, notes())
    assert await projector.advance() == 4 * FIRST_EVENTS
    await ask(projector, "notes")
    assert await projector.advance() == FIRST_EVENTS


async def test_the_projector_hears_what_is_asked(url: str, connection: asyncpg.Connection, pen: Pen) -> None:
    """Without being told it looks when it has nothing to do."""
    model: ReadModel = notes()
    await pen.note("a")
    projector = await opened(connection, model)
    stop, wake = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(projector.run(stop, wake))
    other = await connect(url)
    heard = asyncio.Event()
    await other.add_listener("ringledger_model", lambda *a: heard.set() if '"changed":["notes"]' in a[3] else None)
    async with asyncio.timeout(300):
        await heard.wait()
        heard.clear()
        await other.execute(ASK, ["notes"], None)
        await heard.wait()
    assert await asked(other) == [("notes", True, 1, None)]
    stop.set()
    wake.set()
    await running
    await other.close()
