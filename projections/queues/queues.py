"""Queues with their statistics, computed between lists as app_queue.c computes them (16.28 and 22.10).

The counters are sums of events, and a list may have an event already that comes after it on the wire. So a row also
holds who is waiting and who is talking, as the list told: the end of what the list no longer holds is not counted.
"""

from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from projections.queues import queue_channels
from projections.queues.queue_averages import average, percent
from projections.queues.queue_channels import CallerMove, Memory, nowhere, unchanged
from schemas.ami.channel import BridgeMember, HangupEvent
from schemas.ami.core import Greeted
from schemas.ami.queue import (
    QueueCall,
    QueueCaller,
    QueueEntryListed,
    QueueListed,
    QueueMemberEvent,
    QueueMemberListed,
)
from schemas.ami.transfer import AttendedTransfer, LocalOptimization


class Queue(Row):
    """One queue; times in seconds, the performances are percentages with one decimal, as Asterisk prints them.

    ``service_level_perf`` is of completed calls, ``service_level_perf2`` of completed and abandoned ones. A list does
    not tell how many calls were within the service level: ``completed_in_level`` and ``abandoned_in_level`` are
    counted, or else worked back from the percentages. ``hold_time_before`` is ours from before a list that had another,
    until the next call is answered.

    ``waiting`` has callers by unique id, True once their abandonment is counted. ``talking`` has, by interface, the
    latest call of each member in one: ``caller`` (unique id, empty where only a list told of the call), ``since``
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


def by_queue(e: Any) -> Key | None:
    return (e.queue,) if e.queue else None


def by_known(e: Any) -> Key | None:
    return by_queue(e) if e else None


def measured(row: Queue) -> Queue:
    """Fill in the percentages that follow from the counts."""
    return replace(
        row,
        service_level_perf=percent(row.completed_in_level, row.completed),
        service_level_perf2=percent(row.completed_in_level + row.abandoned_in_level, row.completed + row.abandoned),
    )


def without(held: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: value for k, value in held.items() if k != key}


def joined(row: Queue | None, e: QueueCaller) -> Queue | None:
    return replace(row, calls=e.count, waiting={e.unique_id: False, **row.waiting}) if row else None


def left(row: Queue | None, e: QueueCaller) -> Queue | None:
    return replace(row, calls=e.count, waiting=without(row.waiting, e.unique_id)) if row else None


def abandoned(row: Queue | None, e: QueueCaller) -> Queue | None:
    """Count a caller who hung up, ran out of time, was withdrawn, or had nobody left to wait for."""
    if row is None or row.waiting.get(e.unique_id, True):
        return row
    in_level = e.hold_time <= row.service_level
    return measured(
        replace(
            row,
            abandoned=row.abandoned + 1,
            abandoned_in_level=row.abandoned_in_level + in_level,
            waiting={**row.waiting, e.unique_id: True},
        )
    )


def moved(row: Queue | None, e: CallerMove) -> Queue | None:
    if row is None or e.unique_id not in row.waiting:
        return row
    waiting = without(row.waiting, e.unique_id)
    return replace(row, waiting={e.replacement.unique_id: row.waiting[e.unique_id], **waiting})


def answered(row: Queue | None, e: QueueCall) -> Queue | None:
    if row is None:
        return None
    call = {"caller": e.unique_id, "since": int(e.at.timestamp()), "held": e.hold_time}
    return replace(row, hold_time=held(row, e), hold_time_before=None, talking={**row.talking, e.location: call})


def held(row: Queue, e: QueueCall) -> int:
    """Return the new hold time: the first call's own, else an average, unless the list before had this call already."""
    if row.completed + row.abandoned == 0:
        return e.hold_time
    if row.hold_time_before is not None and average(row.hold_time_before, e.hold_time) == row.hold_time:
        return row.hold_time
    return average(row.hold_time, e.hold_time)


def completed(row: Queue | None, e: QueueCall) -> Queue | None:
    """Count a call that a member finished, if it is the member's latest: Asterisk remembers one start for each."""
    call = row.talking.get(e.location) if row else None
    if row is None or call is None or call["caller"] not in {"", e.unique_id}:
        return row
    return finished(row, e.location, e.hold_time, e.talk_time)


def gone(row: Queue, e: QueueCaller) -> Queue:
    """Remove a caller without a QueueCallerLeave, which would tell the count."""
    if e.unique_id not in row.waiting:
        return row
    return replace(row, calls=max(row.calls - 1, 0), waiting=without(row.waiting, e.unique_id))


def taken_out(row: Queue | None, e: QueueCaller) -> Queue | None:
    """Count a caller who was bridged by somebody else: for app_queue.c an abandoned one."""
    counted = abandoned(row, e)
    return gone(counted, e) if counted else None


def end(memory: Memory, e: HangupEvent) -> QueueCaller | QueueCall | None:
    return queue_channels.end_wait(memory, e) or queue_channels.end_call(memory, e)


def ended(row: Queue | None, e: QueueCaller | QueueCall) -> Queue | None:
    """Follow the end of a channel that waits, or whose call no AgentComplete has ended."""
    if row is None:
        return None
    if isinstance(e, QueueCaller):
        return gone(row, e)
    call = row.talking.get(e.location)
    if call is None or call["caller"] != e.unique_id:
        return row
    return finished(row, e.location, call["held"], max(int(e.at.timestamp()) - call["since"], 0))


def finished(row: Queue, location: str, hold_time: int, talk_time: int) -> Queue:
    """Count a call; it was within the service level if the caller had not waited longer."""
    in_level = hold_time <= row.service_level
    return measured(
        replace(
            row,
            completed=row.completed + 1,
            completed_in_level=row.completed_in_level + in_level,
            talk_time=talk_time if row.completed == 0 else average(row.talk_time, talk_time),
            talking=without(row.talking, location),
        )
    )


def told_of_member(row: Queue | None, e: QueueMemberEvent) -> Queue | None:
    """Count a call whose AgentComplete was never sent: Asterisk omits it when both channels are gone too soon."""
    call = row.talking.get(e.location) if row else None
    if row is None or call is None or e.in_call or not call["caller"] or e.last_call < call["since"]:
        return row
    return finished(row, e.location, call["held"], e.last_call - call["since"])


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
    )
    if row is not None:
        # Callers and members follow as items of their own; one in the same call still has it from its events.
        fresh.talking = row.talking if row.completed == e.completed else {}
        fresh.hold_time_before = row.hold_time if row.hold_time != e.hold_time else row.hold_time_before
        ours = measured(
            replace(fresh, completed_in_level=row.completed_in_level, abandoned_in_level=row.abandoned_in_level)
        )
        stated = (e.service_level_perf, e.service_level_perf2)
        # After `queue reset stats` nothing is counted, and any part of nothing is the 0.0 that is stated.
        fits = row.completed_in_level <= e.completed and row.abandoned_in_level <= e.abandoned
        if fits and (ours.service_level_perf, ours.service_level_perf2) == stated:
            return ours
    in_level = round(e.service_level_perf * e.completed / 100)
    both = round(e.service_level_perf2 * (e.completed + e.abandoned) / 100)
    return replace(fresh, completed_in_level=in_level, abandoned_in_level=max(both - in_level, 0))


def found_member(row: Queue | None, e: QueueMemberListed) -> Queue | None:
    if row is None or bool(e.in_call) == (e.location in row.talking):
        return row
    call = {"caller": "", "since": int(e.at.timestamp()), "held": 0}
    return replace(row, talking=without(row.talking, e.location) | ({e.location: call} if e.in_call else {}))


def found_caller(row: Queue | None, e: QueueEntryListed) -> Queue | None:
    return replace(row, waiting={e.unique_id: False, **row.waiting}) if row else None


QUEUES = ReadModel(
    name="queues",
    version=3,
    row=Queue,
    key=("name",),
    on={
        "QueueParams": Handler(QueueListed, by_queue, found, list_item_wins=True),
        "QueueMember": Handler(QueueMemberListed, by_queue, found_member, list_item_wins=True),
        "QueueEntry": Handler(
            QueueEntryListed, by_queue, found_caller, list_item_wins=True, context=queue_channels.remember_entry
        ),
        "QueueCallerJoin": Handler(QueueCaller, by_queue, joined, context=queue_channels.remember_caller),
        "QueueCallerLeave": Handler(QueueCaller, by_queue, left, context=queue_channels.forget_caller),
        "QueueCallerAbandon": Handler(QueueCaller, by_queue, abandoned, context=queue_channels.identify),
        "AttendedTransfer": Handler(AttendedTransfer, by_known, moved, context=queue_channels.move_caller),
        "AgentConnect": Handler(QueueCall, by_queue, answered, context=queue_channels.remember_call),
        "AgentComplete": Handler(QueueCall, by_queue, completed, context=queue_channels.complete_call),
        "QueueMemberStatus": Handler(QueueMemberEvent, by_queue, told_of_member),
        "BridgeEnter": Handler(BridgeMember, by_known, taken_out, context=queue_channels.end_wait),
        "Hangup": Handler(HangupEvent, by_known, ended, context=end),
        # Nothing in the rows changes by these, but which channel is meant by later events.
        "Connected": Handler(Greeted, nowhere, unchanged, context=queue_channels.forget_all),
        "LocalOptimizationBegin": Handler(LocalOptimization, nowhere, unchanged, context=queue_channels.move_end),
    },
    lists={"QueueStatus": None},
)
