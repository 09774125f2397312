"""Queues with their statistics, computed between lists as app_queue.c computes them (16.28 and 22.10)."""

import struct
from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.kit import Key, Model, On, Row
from projections.queue_members import same_call
from schemas.ami.queue import QueueCall, QueueCaller, QueueListed, QueueMemberListed


class Queue(Row):
    """One queue; times in seconds, the performances are percentages with one decimal, as Asterisk prints them.

    ``service_level_perf`` is of completed calls, ``service_level_perf2`` of completed and abandoned ones. A list does
    not tell how many calls were within the service level: ``completed_in_level`` and ``abandoned_in_level`` are
    counted, or else worked back from the percentages. ``talking`` maps the interface of a member in a call to the
    caller's unique id of the call it took last, empty where only a list told of it.
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
    talking: dict[str, str] = field(default_factory=dict)


def by_queue(e: Any) -> Key | None:
    return (e.queue,) if e.queue else None


def average(old: int, new: int) -> int:
    """Return the exponential average of hold and talk times: three parts old, one part new, rounded down."""
    return ((old << 2) - old + new) >> 2


def percent(part: int, whole: int) -> float:
    """Return what app_queue.c prints: C floats (binary32), one decimal."""
    return float(f"{_float(100 * _float(part / whole)):2.1f}") if whole > 0 else 0.0


def _float(value: float) -> float:
    narrow: float = struct.unpack("f", struct.pack("f", value))[0]
    return narrow


def measured(row: Queue) -> Queue:
    """Fill in the percentages that follow from the counts."""
    return replace(
        row,
        service_level_perf=percent(row.completed_in_level, row.completed),
        service_level_perf2=percent(row.completed_in_level + row.abandoned_in_level, row.completed + row.abandoned),
    )


def moved(row: Queue | None, e: QueueCaller) -> Queue | None:
    return replace(row, calls=e.count) if row else None


def abandoned(row: Queue | None, e: QueueCaller) -> Queue | None:
    """Count a caller who hung up, ran out of time, was withdrawn, or had nobody left to wait for."""
    if row is None:
        return None
    in_level = e.hold_time <= row.service_level
    return measured(replace(row, abandoned=row.abandoned + 1, abandoned_in_level=row.abandoned_in_level + in_level))


def answered(row: Queue | None, e: QueueCall) -> Queue | None:
    if row is None:
        return None
    first = row.completed + row.abandoned == 0
    return replace(
        row,
        hold_time=e.hold_time if first else average(row.hold_time, e.hold_time),
        talking={**row.talking, e.location: e.unique_id},
    )


def completed(row: Queue | None, e: QueueCall) -> Queue | None:
    """Count a call that a member finished; it was within the service level if the caller had not waited longer."""
    if row is None or not same_call(row.talking.get(e.location), e):
        return row
    talking = {location: call for location, call in row.talking.items() if location != e.location}
    in_level = e.hold_time <= row.service_level
    return measured(
        replace(
            row,
            completed=row.completed + 1,
            completed_in_level=row.completed_in_level + in_level,
            talk_time=e.talk_time if row.completed == 0 else average(row.talk_time, e.talk_time),
            talking=talking,
        )
    )


def found(row: Queue | None, e: QueueListed) -> Queue:
    """Take a list item; our own counts within the service level stay if they yield the percentages it states."""
    fresh = Queue(
        pbx=e.pbx,
        tm_update=e.at,
        name=e.queue,
        strategy=e.strategy,
        max=e.max,
        weight=e.weight,
        calls=e.calls,
        completed=e.completed,
        abandoned=e.abandoned,
        hold_time=e.hold_time,
        talk_time=e.talk_time,
        service_level=e.service_level,
        service_level_perf=e.service_level_perf,
        service_level_perf2=e.service_level_perf2,
        talking=row.talking if row and row.completed == e.completed else {},
    )
    if row is not None:
        ours = measured(
            replace(fresh, completed_in_level=row.completed_in_level, abandoned_in_level=row.abandoned_in_level)
        )
        stated = (e.service_level_perf, e.service_level_perf2)
        if (ours.service_level_perf, ours.service_level_perf2) == stated:
            return ours
    in_level = round(e.service_level_perf * e.completed / 100)
    both = round(e.service_level_perf2 * (e.completed + e.abandoned) / 100)
    return replace(fresh, completed_in_level=in_level, abandoned_in_level=max(both - in_level, 0))


def found_member(row: Queue | None, e: QueueMemberListed) -> Queue | None:
    """Learn which members are in a call: the end of one that comes late, or after a reset, counts no more."""
    if row is None or bool(e.in_call) == (e.location in row.talking):
        return row
    talking = {location: call for location, call in row.talking.items() if location != e.location}
    return replace(row, talking={**talking, e.location: ""} if e.in_call else talking)


QUEUES = Model(
    name="queues",
    version=1,
    row=Queue,
    key=("name",),
    on={
        "QueueParams": On(QueueListed, by_queue, found, newer=True),
        "QueueMember": On(QueueMemberListed, by_queue, found_member, newer=True),
        **dict.fromkeys(("QueueCallerJoin", "QueueCallerLeave"), On(QueueCaller, by_queue, moved)),
        "QueueCallerAbandon": On(QueueCaller, by_queue, abandoned),
        "AgentConnect": On(QueueCall, by_queue, answered),
        "AgentComplete": On(QueueCall, by_queue, completed),
    },
    lists={"QueueStatus": None},
)
