"""The calls of the recordings."""

from functools import cache

from tests.support.calls import CallTable, shaped_all
from tests.support.recorded_events import snapshotted

NAMES = ("rich22", "rich16")


@cache
def table_of(name: str) -> CallTable:
    table = CallTable()
    events = shaped_all(snapshotted(name))
    for start in range(0, len(events), 500):
        table.fold(events[start : start + 500])
    return table
