"""Rows folded between the lists of a recording equal the next list, every 40 s."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from projections.calls.parked_calls import PARKED_CALLS
from projections.calls.parking_lots import PARKING_LOTS
from projections.endpoints.device_states import DEVICE_STATES
from projections.engine.model import Key, ReadModel
from projections.queues.agents import AGENTS
from projections.queues.queue_entries import QUEUE_ENTRIES
from projections.queues.queue_members import QUEUE_MEMBERS
from projections.queues.queues import QUEUES
from schemas.log import NewEvent
from tests.support.folding import FoldSpec
from tests.support.recorded_events import action_id, recording

EPOCH = datetime.fromtimestamp(0, UTC)

# The end of each list, the event names of its items, and the models that they fill.
ANSWERS = {
    "QueueStatusComplete": ({"QueueParams", "QueueMember", "QueueEntry"}, (QUEUES, QUEUE_MEMBERS, QUEUE_ENTRIES)),
    "AgentsComplete": ({"Agents"}, (AGENTS,)),
    "ParkedCallsComplete": ({"ParkedCall"}, (PARKED_CALLS,)),
    "ParkinglotsComplete": ({"Parkinglot"}, (PARKING_LOTS,)),
    "DeviceStateListComplete": ({"DeviceStateChange"}, (DEVICE_STATES,)),
}


def split_answers(
    events: tuple[NewEvent, ...], end: str, names: set[str]
) -> Iterator[tuple[list[NewEvent], list[NewEvent]]]:
    """Yield (events before it, its items) for each answer that ends with ``end``; later events are left out."""
    before: list[NewEvent] = []
    items: list[NewEvent] = []
    for e in events:
        if e.name in names and action_id(e.raw):
            items.append(e)
        elif e.name == end:
            yield before, items
            before, items = [], []
        else:
            before.append(e)


def plain_rows(tables: FoldSpec, model: ReadModel, keys: set[Key] | None = None) -> dict[Key, Any]:
    """Return rows without the values that only a list has (a caller's priority) and the time of change."""
    only_listed = {"priority": None} if model is QUEUE_ENTRIES else {}
    return {
        key: msgspec.structs.replace(row, tm_update=EPOCH, **only_listed)
        for key, row in tables.then(model).items()
        if keys is None or key in keys
    }


@pytest.mark.parametrize("capture", ["rich22", "rich16"])
@pytest.mark.parametrize("end", ANSWERS)
def test_folded_rows_match_the_next_list(capture: str, end: str) -> None:
    names, models = ANSWERS[end]
    (first, start), *rest = split_answers(recording(capture), end, names)
    tables = FoldSpec(*models).given(first).given(start)
    lists = 0
    for before, items in rest:
        tables.given(before)
        after_list = FoldSpec(*models)
        for model in models:
            after_list.rows[model.name] = dict(tables.rows[model.name])
        after_list.given(items)
        list_alone = FoldSpec(*models).given(items)
        for model in models:
            assert plain_rows(after_list, model) == plain_rows(tables, model)
            if not items or end != "QueueStatusComplete" or len(items) > 6:  # a list of all queues, not of one
                assert list_alone.then(model).keys() == tables.then(model).keys()
        lists += 1
    assert lists >= 7
    assert tables.rejected == []
