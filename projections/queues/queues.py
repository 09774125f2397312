"""Queues with their statistics, computed between lists as app_queue.c computes them (16.28 and 22.10).

The counters are sums of events, and a list may already contain an event that comes after it on the wire. So a row also
holds the waiting callers and the present calls of the list: the end of a call that the list lacks is not counted.
"""

from typing import Any

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel
from projections.queues import queue_channels
from projections.queues.queue_channels import CallerMove, Memory, keep_row, no_row
from projections.queues.queue_row import Queue, finish_call, hold_time_after, with_percentages, without
from schemas.ami.channel import BridgeMember, HangupEvent
from schemas.ami.core import LinkBanner
from schemas.ami.queue import (
    QueueCall,
    QueueCaller,
    QueueEntryListed,
    QueueListed,
    QueueMemberEvent,
    QueueMemberListed,
)
from schemas.ami.transfer import AttendedTransfer, LocalOptimization


def by_queue(e: Any) -> Key | None:
    return (e.queue,) if e.queue else None


def by_known(e: Any) -> Key | None:
    return by_queue(e) if e else None


def join(row: Queue | None, e: QueueCaller) -> Queue | None:
    return replace(row, calls=e.count, waiting={e.unique_id: False, **row.waiting}) if row else None


def leave(row: Queue | None, e: QueueCaller) -> Queue | None:
    return replace(row, calls=e.count, waiting=without(row.waiting, e.unique_id)) if row else None


def abandon(row: Queue | None, e: QueueCaller) -> Queue | None:
    """Count a caller who hung up, timed out, was withdrawn, or left because the queue has no members."""
    if row is None or row.waiting.get(e.unique_id, True):
        return row
    in_level = e.hold_time <= row.service_level
    return with_percentages(
        replace(
            row,
            abandoned=row.abandoned + 1,
            abandoned_in_level=row.abandoned_in_level + in_level,
            waiting={**row.waiting, e.unique_id: True},
        )
    )


def move(row: Queue | None, e: CallerMove) -> Queue | None:
    if row is None or e.unique_id not in row.waiting:
        return row
    waiting = without(row.waiting, e.unique_id)
    return replace(row, waiting={e.replacement.unique_id: row.waiting[e.unique_id], **waiting})


def answer(row: Queue | None, e: QueueCall) -> Queue | None:
    if row is None:
        return None
    call = {"caller": e.unique_id, "since": int(e.at.timestamp()), "held": e.hold_time}
    return replace(
        row, hold_time=hold_time_after(row, e), hold_time_before=None, talking={**row.talking, e.location: call}
    )


def complete_call(row: Queue | None, e: QueueCall) -> Queue | None:
    """Count a call that a member finished, if it is the member's latest: Asterisk stores one start per member."""
    call = row.talking.get(e.location) if row else None
    if row is None or call is None or call["caller"] not in {"", e.unique_id}:
        return row
    return finish_call(row, e.location, e.hold_time, e.talk_time)


def remove_caller(row: Queue, e: QueueCaller) -> Queue:
    """Remove a caller who has no QueueCallerLeave with the new count."""
    if e.unique_id not in row.waiting:
        return row
    return replace(row, calls=max(row.calls - 1, 0), waiting=without(row.waiting, e.unique_id))


def bridge_caller(row: Queue | None, e: QueueCaller) -> Queue | None:
    """Count a caller who was bridged from outside the queue: app_queue.c counts it as abandoned."""
    counted = abandon(row, e)
    return remove_caller(counted, e) if counted else None


def ended_call(memory: Memory, e: HangupEvent) -> QueueCaller | QueueCall | None:
    return queue_channels.end_wait(memory, e) or queue_channels.end_call(memory, e)


def end_channel(row: Queue | None, e: QueueCaller | QueueCall) -> Queue | None:
    """End the wait of a channel, or its call if no AgentComplete has ended it."""
    if row is None:
        return None
    if isinstance(e, QueueCaller):
        return remove_caller(row, e)
    call = row.talking.get(e.location)
    if call is None or call["caller"] != e.unique_id:
        return row
    return finish_call(row, e.location, call["held"], max(int(e.at.timestamp()) - call["since"], 0))


def update_member(row: Queue | None, e: QueueMemberEvent) -> Queue | None:
    """Count a call without an AgentComplete: Asterisk omits the event when both channels end too soon."""
    call = row.talking.get(e.location) if row else None
    if row is None or call is None or e.in_call or not call["caller"] or e.last_call < call["since"]:
        return row
    return finish_call(row, e.location, call["held"], e.last_call - call["since"])


def apply_list_item(row: Queue | None, e: QueueListed) -> Queue:
    """Create or correct a queue; counts within the service level stay if they yield the listed percentages."""
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
        # Callers and members follow as items of their own; a member in the same call keeps it from its events.
        fresh.talking = row.talking if row.completed == e.completed else {}
        fresh.hold_time_before = row.hold_time if row.hold_time != e.hold_time else row.hold_time_before
        computed = with_percentages(
            replace(fresh, completed_in_level=row.completed_in_level, abandoned_in_level=row.abandoned_in_level)
        )
        stated = (e.service_level_perf, e.service_level_perf2)
        # After `queue reset stats` all counts are 0, and any part of 0 matches the listed 0.0.
        fits = row.completed_in_level <= e.completed and row.abandoned_in_level <= e.abandoned
        if fits and (computed.service_level_perf, computed.service_level_perf2) == stated:
            return computed
    in_level = round(e.service_level_perf * e.completed / 100)
    both = round(e.service_level_perf2 * (e.completed + e.abandoned) / 100)
    return replace(fresh, completed_in_level=in_level, abandoned_in_level=max(both - in_level, 0))


def apply_member_item(row: Queue | None, e: QueueMemberListed) -> Queue | None:
    if row is None or bool(e.in_call) == (e.location in row.talking):
        return row
    call = {"caller": "", "since": int(e.at.timestamp()), "held": 0}
    return replace(row, talking=without(row.talking, e.location) | ({e.location: call} if e.in_call else {}))


def apply_caller_item(row: Queue | None, e: QueueEntryListed) -> Queue | None:
    return replace(row, waiting={e.unique_id: False, **row.waiting}) if row else None


QUEUES = ReadModel(
    name="queues",
    version=3,
    row=Queue,
    key=("name",),
    on={
        "QueueParams": Handler(QueueListed, by_queue, apply_list_item, list_item_wins=True),
        "QueueMember": Handler(QueueMemberListed, by_queue, apply_member_item, list_item_wins=True),
        "QueueEntry": Handler(
            QueueEntryListed, by_queue, apply_caller_item, list_item_wins=True, context=queue_channels.remember_entry
        ),
        "QueueCallerJoin": Handler(QueueCaller, by_queue, join, context=queue_channels.remember_caller),
        "QueueCallerLeave": Handler(QueueCaller, by_queue, leave, context=queue_channels.forget_caller),
        "QueueCallerAbandon": Handler(QueueCaller, by_queue, abandon, context=queue_channels.identify),
        "AttendedTransfer": Handler(AttendedTransfer, by_known, move, context=queue_channels.move_caller),
        "AgentConnect": Handler(QueueCall, by_queue, answer, context=queue_channels.remember_call),
        "AgentComplete": Handler(QueueCall, by_queue, complete_call, context=queue_channels.complete_call),
        "QueueMemberStatus": Handler(QueueMemberEvent, by_queue, update_member),
        "BridgeEnter": Handler(BridgeMember, by_known, bridge_caller, context=queue_channels.end_wait),
        "Hangup": Handler(HangupEvent, by_known, end_channel, context=ended_call),
        # These change no row, but the channel to which later events refer.
        "Connected": Handler(LinkBanner, no_row, keep_row, context=queue_channels.forget_all),
        "LocalOptimizationBegin": Handler(LocalOptimization, no_row, keep_row, context=queue_channels.move_end),
    },
    lists={"QueueStatus": None},
)
