"""Events of the recordings by their source: AMI, its CEL and Cdr, and the lines of two files."""

import csv
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec

from schemas.ami.cdr import Cdr
from schemas.ami.cel import CelEvent
from schemas.calls import Call
from schemas.log import NewEvent
from tests.captures import truth
from tests.support.calls import CallTable, shaped_all
from tests.support.queue_log_events import queue_log_events
from tests.support.recorded_events import snapshotted


@cache
def events_of(name: str) -> dict[str, list[Any]]:
    """Return the shaped events of each source; a file's times have whole seconds."""
    events = shaped_all(snapshotted(name))
    lines = []
    for raw in truth(name, "cel.csv").splitlines(keepends=True):
        (values,) = csv.reader([raw])
        at = datetime.fromisoformat(values[1]).replace(tzinfo=UTC).timestamp()
        lines.append(NewEvent("cel_csv", "CEL", at, at, raw.encode()))
    return {
        "ami": [event for event in events if type(event) not in {CelEvent, Cdr}],
        "cdr": [event for event in events if type(event) is Cdr],
        "queue_log": shaped_all(queue_log_events(truth(name, "queue_log"))),
        "cel": [event for event in events if type(event) is CelEvent],
        "file": shaped_all(lines),
    }


def mixture(sources: Sequence[Sequence[Any]], dice: random.Random) -> list[Any]:
    """Return the events of several sources in one random order that keeps the order of each, at new positions."""
    left = [list(reversed(events)) for events in sources]
    events: list[Any] = []
    longest = dice.choice((1, 5, 300, 100_000))
    while any(left):
        source = dice.choices(left, [len(one) for one in left])[0]
        events += [source.pop() for _ in range(min(dice.randint(1, longest), len(source)))]
    return [msgspec.structs.replace(event, position=position) for position, event in enumerate(events, 1)]


def table_of(events: Sequence[Any]) -> CallTable:
    """Fold events in one batch."""
    return CallTable().fold(events)


def cut_table(events: Sequence[Any], dice: random.Random) -> CallTable:
    """Fold events in random batches, with restarts."""
    table, start = CallTable(), 0
    while start < len(events):
        size = dice.choice((1, 3, 50, 400, 2000))
        table.fold(events[start : start + size])
        start += size
        if dice.random() < 0.3:
            table.restart()
    return table


def facts_of(call: Call) -> Call:
    """Return a call without the members that every source adds to."""
    return msgspec.structs.replace(call, sources=[], user_field=None, account_code=None)
