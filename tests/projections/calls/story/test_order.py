"""Whole calls in any order give the same stories: no call depends on another that it never met."""

import random
from typing import Any

import pytest

from tests.projections.calls.story.recorded import NAMES, table_of
from tests.support.calls import CallTable, shaped_all
from tests.support.recorded_events import snapshotted


class Circles:
    """Calls that met: an event names channels of both, or they were in one bridge."""

    def __init__(self) -> None:
        self.parents: dict[str, str] = {}

    def find(self, call: str) -> str:
        while self.parents.get(call, call) != call:
            call = self.parents[call]
        return call

    def join(self, one: str, other: str) -> None:
        self.parents[self.find(one)] = self.find(other)


def grouped(name: str) -> list[list[Any]]:
    """Return the events of a recording that name a call, in groups of calls that met."""
    homes = {
        one: call.linkedid
        for call in table_of(name).calls(untold=True).values()
        for one in (call.linkedid, *call.aliases, *(leg.unique_id for leg in call.legs))
    }
    circles, bridges = Circles(), dict[str, str]()
    events = []
    for event in shaped_all(snapshotted(name)):
        values = [getattr(event, member) for member in event.__struct_fields__]
        calls = [homes[value] for value in values if isinstance(value, str) and value in homes]
        if calls:
            events.append((calls[0], event))
            if bridge := getattr(event, "bridge_id", ""):
                calls.append(bridges.setdefault(bridge, calls[0]))
            for other in calls[1:]:
                circles.join(calls[0], other)
    groups: dict[str, list[Any]] = {}
    for call, event in events:
        groups.setdefault(circles.find(call), []).append(event)
    return list(groups.values())


@pytest.mark.parametrize("name", NAMES)
def test_whole_calls_in_any_order(name: str) -> None:
    groups = grouped(name)
    assert len(groups) > 250
    random.Random(name).shuffle(groups)
    table = CallTable()
    for group in groups:
        table.fold(group)
    assert table.calls(untold=True) == table_of(name).calls(untold=True)
