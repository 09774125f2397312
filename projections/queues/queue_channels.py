"""Channels of queue calls, remembered by unique id for events that do not name the queue (app_queue.c, 16 and 22).

``waiting`` maps a caller's unique id to [queue, start of the wait in seconds since the epoch]. ``moved`` maps the
unique id of a transferer's leg to the one that took its place, until the leg hangs up. ``calls`` maps the unique ids
of both ends of a call to [queue, interface, the caller's unique id at AgentConnect]. A new link clears all of it; the
next list restores ``waiting``.
"""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from projections.engine.model import Key
from schemas.ami.channel import BridgeMember, HangupEvent, Rename
from schemas.ami.queue import QueueCall, QueueCaller, QueueEntryListed
from schemas.ami.transfer import AttendedTransfer, LocalOptimization, Party

Memory = dict[str, Any]


class CallerMove(Struct, frozen=True, gc=False):
    """The replacement of a caller's channel in a queue."""

    queue: str
    unique_id: str
    replacement: Party


def forget_all(memory: Memory, e: Any) -> Any:
    """Clear the memory: a channel may have ended while there was no link."""
    memory.clear()
    return e


def no_row(_e: Any) -> Key | None:
    return None


def keep_row(row: Any, _e: Any) -> Any:
    return row


def remember_caller(memory: Memory, e: QueueCaller) -> QueueCaller:
    """Remember a caller who joins."""
    memory["waiting"] = memory.get("waiting", {}) | {e.unique_id: [e.queue, int(e.at.timestamp())]}
    return e


def remember_entry(memory: Memory, e: QueueEntryListed) -> QueueEntryListed:
    """Remember a caller whom a list names."""
    waiting = memory.get("waiting", {})
    if e.unique_id not in waiting or waiting[e.unique_id][0] != e.queue:
        memory["waiting"] = waiting | {e.unique_id: [e.queue, int(e.at.timestamp()) - e.wait]}
    return e


def identify(memory: Memory, e: QueueCaller) -> QueueCaller:
    """Return the event with the caller's unique id, where it still has that of the replaced leg."""
    moved = memory.get("moved", {}).get(e.unique_id)
    return e if moved is None else replace(e, unique_id=moved)


def forget_caller(memory: Memory, e: QueueCaller) -> QueueCaller:
    """Forget a caller who leaves; return the event as `identify` does."""
    e = identify(memory, e)
    if e.unique_id in memory.get("waiting", {}):
        memory["waiting"] = _without(memory["waiting"], e.unique_id)
    return e


def move_caller(memory: Memory, e: AttendedTransfer) -> CallerMove | None:
    """Return the move of an attended transfer into Queue(), None if the leg waits in no queue."""
    waiting, leg = memory.get("waiting", {}), e.replaced()
    if leg not in waiting or not (new := e.replacement()).unique_id:
        return None
    memory["waiting"] = _without(waiting, leg) | {new.unique_id: waiting[leg]}
    memory["moved"] = memory.get("moved", {}) | {leg: new.unique_id}
    return CallerMove(waiting[leg][0], leg, new)


def rename_caller(memory: Memory, e: Rename) -> tuple[Key, str] | None:
    """Return (queue, unique id) of a caller and the new name, None for a channel that does not wait."""
    place = memory.get("waiting", {}).get(e.unique_id)
    return ((place[0], e.unique_id), e.new_name) if place else None


def end_wait(memory: Memory, e: HangupEvent | BridgeMember) -> QueueCaller | None:
    """Return the caller whose channel has ended, or is in a bridge, without a QueueCallerLeave; None for any other.

    AMI's Bridge and the application Bridge take a channel out of the queue; app_queue.c continues with an internal
    channel without events. A member's call has a QueueCallerLeave before its BridgeEnter.
    """
    if "moved" in memory and e.unique_id in memory["moved"] and isinstance(e, HangupEvent):
        memory["moved"] = _without(memory["moved"], e.unique_id)
    if "waiting" not in memory or e.unique_id not in memory["waiting"]:
        return None
    queue, since = memory["waiting"][e.unique_id]
    memory["waiting"] = _without(memory["waiting"], e.unique_id)
    waited = max(int(e.at.timestamp()) - since, 0)
    return QueueCaller(
        pbx=e.pbx,
        at=e.at,
        recorded=e.recorded,
        position=e.position,
        queue=queue,
        unique_id=e.unique_id,
        hold_time=waited,
    )


def remember_call(memory: Memory, e: QueueCall) -> QueueCall:
    """Remember both ends of a call that a member answers."""
    call = [e.queue, e.location, e.unique_id]
    ends = {unique_id: call for unique_id in (e.unique_id, e.dest_unique_id) if unique_id}
    memory["calls"] = memory.get("calls", {}) | ends
    return e


def move_end(memory: Memory, e: LocalOptimization) -> LocalOptimization:
    """Replace an end of a call that is optimised away, as app_queue.c does: a member's ;1, a caller's ;2."""
    calls = memory.get("calls", {})
    half = e.one_unique_id if e.one_unique_id in calls else e.two_unique_id
    if half in calls and e.source_unique_id:
        memory["calls"] = _without(calls, half) | {e.source_unique_id: calls[half]}
    return e


def complete_call(memory: Memory, e: QueueCall) -> QueueCall:
    """Forget a call that is complete; return the event with the caller's unique id at AgentConnect."""
    call = memory.get("calls", {}).get(e.unique_id)
    if call is None:
        return e
    memory["calls"] = _without_call(memory["calls"], call)
    return e if e.unique_id == call[2] else replace(e, unique_id=call[2])


def end_call(memory: Memory, e: HangupEvent) -> QueueCall | None:
    """Return the call that ends with this channel, None if AgentComplete has ended it or there is none."""
    if "calls" not in memory or e.unique_id not in memory["calls"]:
        return None
    queue, location, caller = call = memory["calls"][e.unique_id]
    memory["calls"] = _without_call(memory["calls"], call)
    return QueueCall(
        pbx=e.pbx,
        at=e.at,
        recorded=e.recorded,
        position=e.position,
        queue=queue,
        location=location,
        unique_id=caller,
    )


def _without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {other: value for other, value in mapping.items() if other != key}


def _without_call(calls: dict[str, Any], call: list[str]) -> dict[str, Any]:
    """Return the calls without either end of this one."""
    return {unique_id: other for unique_id, other in calls.items() if other != call}
