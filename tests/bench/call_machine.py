"""Measure the machine of calls over rich22: microseconds of CPU time for each event that it takes.

Run it with ``python -m tests.bench.call_machine``. The events are shaped before: all models share that work.
"""

import sys
import time
from typing import Any

from projections.calls.story.call_machine import CallMachine
from projections.engine.model import Key
from tests.support.calls import shaped_all
from tests.support.recorded_events import snapshotted

BATCH = 500
"""Events of a batch, as the projector takes them while it follows a busy PBX."""


def fold_seconds(events: list[Any]) -> float:
    """Return the CPU seconds of the folds alone."""
    machine, start = CallMachine(), time.process_time()
    for event in events:
        machine.fold(event)
    return time.process_time() - start


def batch_seconds(events: list[Any]) -> float:
    """Return the CPU seconds of folds, look-ups of missing ids, and rows of each batch."""
    machine, start = CallMachine(), time.process_time()
    for first in range(0, len(events), BATCH):
        batch = events[first : first + BATCH]
        for event in batch:
            machine.missing(event)
        dirty: dict[Key, None] = {}
        for event in batch:
            dirty |= dict.fromkeys(machine.fold(event))
        for key in dirty:
            machine.row(key)
        machine.forget()
    return time.process_time() - start


def main() -> None:
    events = shaped_all(snapshotted("rich22"))
    for name, measure in (("folds", fold_seconds), ("folds, look-ups and rows", batch_seconds)):
        best = min(measure(events) for _ in range(5))
        sys.stdout.write(f"{name}: {best / len(events) * 1e6:.2f} us for each of {len(events)} events\n")


if __name__ == "__main__":
    main()
