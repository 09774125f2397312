"""The row of a queue, and its statistics as app_queue.c computes them (16.28 and 22.10)."""

from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.engine.model import Row
from projections.queues.queue_averages import average, percent
from schemas.ami.queue import QueueCall


class Queue(Row):
    """One queue; times in seconds, the performances are percentages with one decimal, as Asterisk prints them.

    ``service_level_perf`` is of completed calls, ``service_level_perf2`` of completed and abandoned ones. Lists lack
    the number of calls within the service level: ``completed_in_level`` and ``abandoned_in_level`` are counted, or
    computed from the percentages. ``hold_time_before`` is the computed hold time before a list with another one, until
    the next call is answered.

    ``waiting`` holds callers by unique id, True once their abandonment is counted. ``talking`` holds, by interface, the
    latest call of each member in one: ``caller`` (unique id, empty for a call known from a list only), ``since``
    (seconds since the epoch) and ``held`` (seconds that the caller had waited).
    """

    name: str
    strategy: str = ""
    max: int = 0
    weight: int = 0
    calls: int = 0
    completed: int = 0
    abandoned: int = 0
    hold_time: int = 0
    talk_time: int = 0
    service_level: int = 0
    service_level_perf: float = 0.0
    service_level_perf2: float = 0.0
    completed_in_level: int = 0
    abandoned_in_level: int = 0
    hold_time_before: int | None = None
    waiting: dict[str, bool] = field(default_factory=dict)
    talking: dict[str, dict[str, Any]] = field(default_factory=dict)


def with_percentages(row: Queue) -> Queue:
    """Return the row with the percentages that follow from the counts."""
    return replace(
        row,
        service_level_perf=percent(row.completed_in_level, row.completed),
        service_level_perf2=percent(row.completed_in_level + row.abandoned_in_level, row.completed + row.abandoned),
    )


def without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: value for k, value in mapping.items() if k != key}


def hold_time_after(row: Queue, e: QueueCall) -> int:
    """Return the new hold time: that of the first call, or else an average, unless the last list included this call."""
    if row.completed + row.abandoned == 0:
        return e.hold_time
    if row.hold_time_before is not None and average(row.hold_time_before, e.hold_time) == row.hold_time:
        return row.hold_time
    return average(row.hold_time, e.hold_time)


def finish_call(row: Queue, location: str, hold_time: int, talk_time: int) -> Queue:
    """Count a call; it is within the service level if the caller did not wait longer."""
    in_level = hold_time <= row.service_level
    return with_percentages(
        replace(
            row,
            completed=row.completed + 1,
            completed_in_level=row.completed_in_level + in_level,
            talk_time=talk_time if row.completed == 0 else average(row.talk_time, talk_time),
            talking=without(row.talking, location),
        )
    )
