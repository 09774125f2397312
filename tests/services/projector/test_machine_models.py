"""A model with a machine and derived tables: everything that holds for other models, and a fold that survives."""

import asyncio
import random
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from projections.engine.derived import DerivedRow, Parts
from projections.engine.model import ReadModel
from services.log.append import append_events
from services.log.continuity import RewoundError
from services.projector import process
from services.projector import saved_states as saved
from services.projector.process import project
from services.projector.projector import Projector
from services.projector.rebuild.diff import differences
from services.projector.rebuild.report import lines, table
from tests.support.note_model import NoteWriter, note_rows, notes
from tests.support.pair_model import (
    PAIRS,
    Pair,
    PairMachine,
    append_pairs,
    folded_tables,
    pairs,
    random_pairs,
    served_tables,
)
from tests.support.polling import eventually
from tests.support.projectors import finish, open_projector

EVENTS = random_pairs(12, 400)
RELATIONS = """
SELECT relname::text FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind = ANY ($2::"char"[])
"""


@pytest.fixture(autouse=True)
async def _log(connection: asyncpg.Connection) -> None:
    await append_pairs(connection, EVENTS)


async def relations(connection: asyncpg.Connection, schema: str, *kinds: bytes) -> set[str]:
    return {row[0] for row in await connection.fetch(RELATIONS, schema, kinds)}


@pytest.mark.parametrize("seed", [1, 2])
async def test_batches_and_restarts_write_the_same_rows(connection: asyncpg.Connection, seed: int) -> None:
    dice = random.Random(seed)
    projector = await open_projector(connection, PAIRS)
    while await projector.advance(dice.choice([1, 2, 3, 17, 50])):
        if dice.random() < 0.3:
            projector = await open_projector(connection, PAIRS)
    assert projector.stopped == {}
    assert await served_tables(connection) == await folded_tables(connection)


BREAK = """
CREATE FUNCTION no_memory() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no memory' USING ERRCODE = 'out_of_memory'; END $$;
CREATE TRIGGER break BEFORE UPDATE ON ledger.checkpoint EXECUTE FUNCTION no_memory();
"""


async def test_a_rolled_back_batch_leaves_no_trace(connection: asyncpg.Connection) -> None:
    projector = await open_projector(connection, PAIRS)
    await projector.advance(150)
    before = await served_tables(connection)
    await connection.execute(BREAK)
    for _ in range(2):
        with pytest.raises(asyncpg.OutOfMemoryError):
            await projector.advance(150)
        assert projector.cursors[0].opened is None
        assert await served_tables(connection) == before
    await connection.execute("DROP TRIGGER break ON ledger.checkpoint")
    await finish(projector, 30)
    assert await served_tables(connection) == await folded_tables(connection)


async def test_the_failure_of_another_model_leaves_no_trace(connection: asyncpg.Connection) -> None:
    """The batch of both is folded again without the one that failed."""
    projector = await open_projector(
        connection, PAIRS, replace(pairs(name="others", machine=Breaking), derived=(), lookup="")
    )
    await finish(projector, 60)
    assert projector.stopped.keys() == {"others"}
    assert await served_tables(connection) == await folded_tables(connection)


class Breaking(PairMachine):
    def fold(self, event: Any) -> Any:
        if event.position == 100:
            raise KeyError("hundred")
        return super().fold(event)


async def test_a_failing_machine_stops_alone_until_a_restart(connection: asyncpg.Connection) -> None:
    broken = pairs(machine=Breaking)
    projector = await open_projector(connection, broken, notes())
    await finish(projector, 60)
    assert "position 100 (" in projector.stopped["pairs"]
    assert "KeyError('hundred')" in projector.stopped["pairs"]
    assert await served_tables(connection) == await folded_tables(connection, until=60)
    await NoteWriter(connection).write_notes("a")
    await finish(projector)
    assert await note_rows(connection) == {"a": (1, 1)}
    await finish(await open_projector(connection, PAIRS, notes()), 70)
    assert await served_tables(connection) == await folded_tables(connection)


async def test_an_unreadable_story_stops_the_model(connection: asyncpg.Connection) -> None:
    projector = await open_projector(connection, PAIRS, notes())
    await projector.advance(100)
    await connection.execute("UPDATE pairs SET story = '{}' WHERE ended_at IS NULL")
    projector = await open_projector(connection, PAIRS, notes())
    await finish(projector)
    assert "reading the open rows at 100" in projector.stopped["pairs"]
    assert [c.model.name for c in projector.cursors] == ["notes"]


async def test_nothing_is_written_after_a_moved_checkpoint(connection: asyncpg.Connection) -> None:
    projector = await open_projector(connection, PAIRS)
    await projector.advance(100)
    before = await served_tables(connection)
    await connection.execute("UPDATE checkpoint SET position = 50")
    with pytest.raises(RewoundError):
        await projector.advance(100)
    assert await served_tables(connection) == before


async def test_a_standby_takes_over_with_the_tables_rows(
    url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "ALL", (PAIRS,))
    stops = [asyncio.Event(), asyncio.Event()]
    running = [asyncio.create_task(project(url, stop)) for stop in stops]

    async def is_at(position: int) -> bool:
        return bool(await connection.fetchval("SELECT min(position) = $1 FROM ledger.checkpoint", position))

    await eventually(lambda: is_at(len(EVENTS)), "all is folded")
    later = random_pairs(12, 500)[400:]
    await append_pairs_of(connection, "c", later[:50])
    await eventually(lambda: is_at(len(EVENTS) + 50), "all is folded")
    stops[0].set()
    await append_pairs_of(connection, "d", later[50:])
    await eventually(lambda: is_at(len(EVENTS) + 100), "all is folded")
    stops[1].set()
    await asyncio.gather(*running)
    assert await served_tables(connection) == await folded_tables(connection)


async def append_pairs_of(connection: asyncpg.Connection, pbx: str, events: Any) -> None:
    await append_events(connection, pbx, 1, 1, events)


class PairNumber(DerivedRow):
    number: int
    pair: str


OTHER: ReadModel = replace(
    pairs(version=2),
    derived=(
        PAIRS.derived[0],
        Parts("pair_numbers", PairNumber, ("number", "pair"), lambda r: [PairNumber(r.pbx, r.number, r.pair)]),
    ),
)


async def test_derived_tables_are_swapped_with_their_model(connection: asyncpg.Connection) -> None:
    projector = await open_projector(connection, PAIRS)
    await finish(projector)
    assert await relations(connection, "model", b"r") == {"pairs", "pair_ids", "pair_tags", "tag_sums"}
    assert await relations(connection, "model", b"i") > {"pairs_open", "pairs_number", "pair_tags_by"}
    served = await served_tables(connection)
    raised = await open_projector(connection, OTHER)
    await raised.advance(150)
    assert await served_tables(connection) == served
    assert await relations(connection, "rebuild", b"r") == {"pairs", "pair_ids", "pair_numbers"}
    raised = await open_projector(connection, OTHER)  # a restart in the middle
    await finish(raised, 40)
    assert await served_tables(connection, OTHER) == await folded_tables(connection, OTHER)
    assert await relations(connection, "model", b"r") == {"pairs", "pair_ids", "pair_numbers"}
    assert await relations(connection, "model", b"i") >= {"pairs_open", "pairs_number"}
    assert await relations(connection, "rebuild", b"r", b"i") == set()
    # The other way, and a rebuild that is given up.
    await (await open_projector(connection, pairs(version=3))).advance(10)
    assert "tag_sums" in await relations(connection, "rebuild", b"r")
    await open_projector(connection, OTHER)
    assert await relations(connection, "rebuild", b"r", b"i") == set()


REQUEST = "INSERT INTO ledger.rebuild (model, upto) VALUES ('pairs', $1)"


async def test_a_requested_rebuild_mends_rows_and_derived_rows(connection: asyncpg.Connection) -> None:
    projector = await open_projector(connection, PAIRS)
    await finish(projector)
    await connection.execute("DELETE FROM pair_ids; UPDATE tag_sums SET pairs = 7; UPDATE pairs SET amount = -1")
    await connection.execute(REQUEST, None)
    await projector.start_requested()
    await finish(projector, 90)
    assert await served_tables(connection) == await folded_tables(connection)
    await append_pairs_of(connection, "c", random_pairs(5, 40))
    await finish(projector)
    assert await served_tables(connection) == await folded_tables(connection)


async def test_a_rebuild_may_end_at_a_position(connection: asyncpg.Connection) -> None:
    await open_projector(connection, PAIRS)
    await connection.execute(REQUEST, 250)
    projector = Projector(connection, [PAIRS], {"pairs": 250})
    await projector.open()
    await finish(projector, 60)
    assert await served_tables(connection) == await folded_tables(connection, until=250)
    await finish(await open_projector(connection, PAIRS), 60)
    assert await served_tables(connection) == await folded_tables(connection)


async def test_a_comparison_covers_derived_tables(url: str, connection: asyncpg.Connection) -> None:
    await finish(await open_projector(connection, PAIRS), 33)
    compared = await differences(url, [PAIRS])
    total = sum([len(rows) for rows in (await served_tables(connection)).values()])
    assert lines(compared) == [f"compared pairs, {total} rows, at position {len(EVENTS)}: nothing differs"]
    await connection.execute("UPDATE tag_sums SET amount = amount + 1 WHERE tag = 't3'; DELETE FROM pair_tags")
    compared = await differences(url, [PAIRS])
    tags = len((await folded_tables(connection))["pair_tags"])
    assert lines(compared)[-1].endswith(f"{tags + 2} rows differ (pair_tags {tags}, tag_sums 2)")
    assert table(compared) is not None
    assert [(c.name, c.differs) for c in await differences(url, [OTHER])] == [
        ("pairs", False),
        ("pair_ids", False),
        ("pair_numbers", True),
    ]


async def test_a_machines_saved_state_equals_the_rows(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "SAVE_INTERVAL", 100)
    model = replace(PAIRS, is_state=True)
    await finish(await open_projector(connection, model), 70)
    for until in (140, 210, 350, 400):
        state = await saved.nearest(connection, model, until)
        assert state is not None
        assert state.position == until
        rows: list[Pair] = await saved.rows_of(connection, state)
        folded = (await folded_tables(connection, until=until))["pairs"]
        assert {(row.pbx, row.pair): row for row in rows} == folded
        assert state.state.memory.keys() <= {"a", "b"}


async def test_a_derived_tables_error_stops_its_model(connection: asyncpg.Connection) -> None:
    def broken(_row: Any) -> Any:
        raise KeyError("broken")

    model = replace(PAIRS, derived=(PAIRS.derived[0], replace(PAIRS.derived[1], of=broken)))
    projector = await open_projector(connection, model)
    await finish(projector)
    assert "writing rows of 1.." in projector.stopped["pairs"]
