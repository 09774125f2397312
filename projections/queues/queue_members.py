"""Members of queues, as in `queue show`, after each event and not only after a list.

The key is (queue_name, location): Asterisk identifies members of a queue by their interface alone, and two may share a
membername. jade's id is ``name@queue_name``, so a view may find more than one row for it.
"""

from typing import Any

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from projections.queues import queue_channels
from projections.queues.queue_channels import keep_row, no_row
from schemas.ami.channel import HangupEvent
from schemas.ami.core import LinkBanner
from schemas.ami.queue import QueueCall, QueueMemberEvent, QueueMemberFacts, QueueMemberListed
from schemas.ami.transfer import LocalOptimization

NOT_INUSE = 1
"""The device state of a phone that is free (AST_DEVICE_NOT_INUSE)."""


class QueueMember(Row):
    """One member; times are seconds since the epoch, 0 for never, ``status`` is the number of its device state.

    ``paused``, ``in_call`` and ``ring_inuse`` are 0 or 1; lists lack ``ring_inuse``, so it is null until an event has
    it. ``call`` is the caller's unique id of the member's latest call while it lasts, empty for a call known from a
    list only.
    """

    queue_name: str
    location: str
    name: str = ""
    status: int = 0
    membership: str = ""
    state_interface: str = ""
    paused: int = 0
    paused_reason: str = ""
    penalty: int = 0
    calls_taken: int = 0
    in_call: int = 0
    last_call: int = 0
    last_pause: int = 0
    ring_inuse: int | None = None
    login_time: int = 0
    wrapup_time: int = 0
    call: str | None = None


def by_location(e: Any) -> Key | None:
    return (e.queue, e.location) if e.queue and e.location else None


def by_ended(e: QueueCall | None) -> Key | None:
    return by_location(e) if e else None


def with_facts(row: QueueMember | None, e: QueueMemberFacts, name: str, location: str, ring_inuse: int | None) -> Any:
    call = row.call if row and row.calls_taken == e.calls_taken else None
    return QueueMember(
        pbx=e.pbx,
        tm_update=e.at,
        queue_name=e.queue,
        location=location,
        name=name,
        status=e.status,
        membership=e.membership,
        state_interface=e.state_interface,
        paused=e.paused,
        # The event of an unpause with a reason carries the reason; Asterisk drops it right after.
        paused_reason=e.paused_reason if e.paused else "",
        penalty=e.penalty,
        calls_taken=e.calls_taken,
        in_call=e.in_call,
        last_call=e.last_call,
        last_pause=e.last_pause,
        ring_inuse=ring_inuse,
        login_time=e.login_time,
        wrapup_time=e.wrapup_time,
        call=call or "" if e.in_call else None,
    )


def change(row: QueueMember | None, e: QueueMemberEvent) -> Any:
    return with_facts(row, e, e.name, e.location, e.ring_inuse)


def change_status(row: QueueMember | None, e: QueueMemberEvent) -> Any:
    """Change the member to the state of its device; a call that began a moment before continues.

    Asterisk sends AgentConnect before it marks the member as in a call. Its other thread, which follows the devices,
    may send the state of the answered phone in between (app_queue.c, try_calling and update_status, 16.28 and 22.10).
    A device that is free again has ended the call, and Asterisk has counted it.
    """
    row_now = change(row, e)
    if (
        row
        and row.in_call
        and row.call
        and not e.in_call
        and e.status != NOT_INUSE
        and e.calls_taken == row.calls_taken
    ):
        return replace(row_now, in_call=1, call=row.call)
    return row_now


def apply_list_item(row: QueueMember | None, e: QueueMemberListed) -> Any:
    return with_facts(row, e, e.name, e.location, row.ring_inuse if row else None)


def remove(_row: QueueMember | None, _e: QueueMemberEvent) -> None:
    return None


def take_call(row: QueueMember | None, e: QueueCall) -> Any:
    return replace(row, in_call=1, call=e.unique_id) if row else None


def finish_call(row: QueueMember | None, e: QueueCall) -> Any:
    """Count a call if it is the member's latest one.

    Asterisk stores the start of one call per member, and does not count the end of another one (app_queue.c,
    update_queue).
    """
    if row is None or row.call is None or row.call not in {"", e.unique_id}:
        return row
    return replace(
        row,
        in_call=0,
        call=None,
        calls_taken=row.calls_taken + 1,
        last_call=int(e.at.timestamp()),
    )


QUEUE_MEMBERS = ReadModel(
    name="queue_members",
    version=3,
    row=QueueMember,
    key=("queue_name", "location"),
    on={
        "QueueMember": Handler(QueueMemberListed, by_location, apply_list_item, list_item_wins=True),
        **dict.fromkeys(
            (
                "QueueMemberAdded",
                "QueueMemberPause",
                "QueueMemberPenalty",
                "QueueMemberRinginuse",
            ),
            Handler(QueueMemberEvent, by_location, change),
        ),
        "QueueMemberStatus": Handler(QueueMemberEvent, by_location, change_status),
        "QueueMemberRemoved": Handler(QueueMemberEvent, by_location, remove, deletes_unseen=True),
        "Connected": Handler(LinkBanner, no_row, keep_row, context=queue_channels.forget_all),
        "AgentConnect": Handler(QueueCall, by_location, take_call, context=queue_channels.remember_call),
        "LocalOptimizationBegin": Handler(LocalOptimization, no_row, keep_row, context=queue_channels.move_end),
        "AgentComplete": Handler(QueueCall, by_location, finish_call, context=queue_channels.complete_call),
        "Hangup": Handler(HangupEvent, by_ended, finish_call, context=queue_channels.end_call),
    },
    lists={"QueueStatus": None},
)
