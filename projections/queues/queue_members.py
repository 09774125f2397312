"""Members of queues: what `queue show` says of them, after each event and not only after a list.

The key is (queue_name, location): Asterisk tells members of one queue apart by their interface alone, and two may
share a membername. jade's id is ``name@queue_name``, so a view may find more than one row for it.
"""

from typing import Any

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from projections.queues import queue_channels
from projections.queues.queue_channels import nowhere, unchanged
from schemas.ami.channel import HangupEvent
from schemas.ami.core import Greeted
from schemas.ami.queue import QueueCall, QueueMemberEvent, QueueMemberFacts, QueueMemberListed
from schemas.ami.transfer import LocalOptimization

NOT_INUSE = 1
"""The device state of a phone that is free (AST_DEVICE_NOT_INUSE)."""


class QueueMember(Row):
    """One member; times are seconds since the epoch, 0 for never, ``status`` is the number of its device state.

    ``paused``, ``in_call`` and ``ring_inuse`` are 0 or 1; a list does not tell ``ring_inuse``, so it is None until an
    event does. ``call`` is the caller's unique id of the call that the member took last, while it lasts; empty where
    no event told of that call.
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


def updated(row: QueueMember | None, e: QueueMemberFacts, name: str, location: str, ring_inuse: int | None) -> Any:
    known = row.call if row and row.calls_taken == e.calls_taken else None
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
        call=known or "" if e.in_call else None,
    )


def changed(row: QueueMember | None, e: QueueMemberEvent) -> Any:
    return updated(row, e, e.name, e.location, e.ring_inuse)


def status_changed(row: QueueMember | None, e: QueueMemberEvent) -> Any:
    """Follow a device's state; a call that began a moment before goes on.

    Asterisk sends AgentConnect before it marks the member as in a call. Its other thread, which follows the devices,
    may send the state of the answered phone in between (app_queue.c, try_calling and update_status, 16.28 and 22.10).
    A device that is free again has ended the call, and Asterisk has counted it.
    """
    row_now = changed(row, e)
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


def found(row: QueueMember | None, e: QueueMemberListed) -> Any:
    return updated(row, e, e.name, e.location, row.ring_inuse if row else None)


def removed(_row: QueueMember | None, _e: QueueMemberEvent) -> None:
    return None


def took(row: QueueMember | None, e: QueueCall) -> Any:
    return replace(row, in_call=1, call=e.unique_id) if row else None


def finished(row: QueueMember | None, e: QueueCall) -> Any:
    """Count a call if it is the one that the member took last.

    A member remembers the start of one call; the end of another that still went on counts nowhere (app_queue.c,
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
        "QueueMember": Handler(QueueMemberListed, by_location, found, list_item_wins=True),
        **dict.fromkeys(
            (
                "QueueMemberAdded",
                "QueueMemberPause",
                "QueueMemberPenalty",
                "QueueMemberRinginuse",
            ),
            Handler(QueueMemberEvent, by_location, changed),
        ),
        "QueueMemberStatus": Handler(QueueMemberEvent, by_location, status_changed),
        "QueueMemberRemoved": Handler(QueueMemberEvent, by_location, removed, deletes_unseen=True),
        "Connected": Handler(Greeted, nowhere, unchanged, context=queue_channels.forget_all),
        "AgentConnect": Handler(QueueCall, by_location, took, context=queue_channels.remember_call),
        "LocalOptimizationBegin": Handler(LocalOptimization, nowhere, unchanged, context=queue_channels.move_end),
        "AgentComplete": Handler(QueueCall, by_location, finished, context=queue_channels.complete_call),
        "Hangup": Handler(HangupEvent, by_ended, finished, context=queue_channels.end_call),
    },
    lists={"QueueStatus": None},
)
