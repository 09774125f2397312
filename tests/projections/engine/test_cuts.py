"""The ends of batches do not change the rows: every model, both recordings, in memory and through PostgreSQL."""

import random
from functools import cache

import pytest

from projections import ALL
from services.database.connection import connect
from services.log.append import append_events
from services.projector.projector import Projector
from tests.support.folding import FoldSpec
from tests.support.recorded_events import cut, snapshotted

CAPTURES = ["rich22", "rich16"]


@cache
def whole(capture: str) -> FoldSpec:
    """Fold a recording in one batch; no test changes the result."""
    return FoldSpec(*ALL).given(snapshotted(capture))


@pytest.mark.parametrize("capture", CAPTURES)
def test_every_model_accepts_a_whole_recording(capture: str) -> None:
    tables = whole(capture)
    assert tables.rejected == []
    filled = {name for name, rows in tables.rows.items() if rows}
    assert filled >= {"queues", "queue_members", "queue_entries", "agents", "parking_lots", "device_states"}


@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("longest", [7, 400, 6000])
def test_random_cuts_give_the_rows_of_one_fold(capture: str, longest: int) -> None:
    events = snapshotted(capture)
    # Batches of a few events are slow where tables are read whole; a third of the recording is enough.
    if longest < 10:
        events = events[: len(events) // 3]
    once = FoldSpec(*ALL).given(events) if longest < 10 else whole(capture)
    batched = FoldSpec(*ALL)
    for batch in cut(events, longest, seed=longest):
        batched.given(batch)
    for model in ALL:
        assert batched.then(model) == once.then(model), model.name
    assert batched.states == once.states
    assert batched.rejected == once.rejected


@pytest.mark.parametrize("capture", CAPTURES)
async def test_the_projector_writes_the_rows_of_one_fold(url: str, capture: str) -> None:
    once = whole(capture)
    connection = await connect(url, search_path="model, ledger")
    events = snapshotted(capture)
    for start in range(0, len(events), 4096):
        await append_events(connection, "pbx", 1, start + 1, events[start : start + 4096])
    dice = random.Random(capture)
    projector = Projector(connection, ALL)
    await projector.open()
    while await projector.advance(dice.randint(1, 4000)):
        if dice.random() < 0.3:  # a new process has only the tables and the checkpoints
            projector = Projector(connection, ALL)
            await projector.open()
    assert projector.stopped == {}
    for cursor in projector.cursors:
        table = cursor.table
        rows = table.rows(await connection.fetch(f"SELECT {', '.join(table.columns)} FROM {cursor.model.name}"))
        assert {table.key_of(row)[1:]: row for row in rows} == once.then(cursor.model), cursor.model.name
        assert cursor.state == once.states[cursor.model.name]
    await connection.close()
