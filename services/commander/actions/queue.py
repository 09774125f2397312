"""Acts on members of queues (AMI QueueAdd, QueuePause, QueuePenalty, QueueMemberRingInUse, QueueRemove).

Asterisk 16 and 22 give the reason of a refusal only in English text; the headers of QueueStatus show it reliably.
"""

from typing import Any

from schemas.acts import Reason
from schemas.acts.queue import QueueMemberAdd, QueueMemberChange, QueueMemberRemove
from schemas.refusals import DENIED
from services.asterisk.ami.actions import RefusedError, send_action
from services.asterisk.ami.pending_action import keep_headers
from services.asterisk.ami.session import Session
from services.commander.actions.context import ActionContext

MemberAct = QueueMemberAdd | QueueMemberChange | QueueMemberRemove


async def add(context: ActionContext, act: QueueMemberAdd) -> dict[str, Any]:
    """Add a member; a present one is `conflict`, a missing queue `absent`."""
    optional = {"MemberName": act.name, "StateInterface": act.state_interface}
    try:
        await send_action(
            context.session,
            "QueueAdd",
            Queue=act.queue,
            Interface=act.interface,
            Penalty=str(act.penalty),
            Paused=_boolean(on=act.paused),
            **{name: value for name, value in optional.items() if value},
        )
    except RefusedError as error:
        raise await _with_reason(context.session, act, error, if_present="conflict", if_absent="refused") from None
    return {}


async def change(context: ActionContext, act: QueueMemberChange) -> dict[str, Any]:
    """Change a member, one action after the other; a missing one is `absent`."""
    done: list[str] = []
    for action, headers in _actions(act):
        try:
            await send_action(context.session, action, Queue=act.queue, Interface=act.interface, **headers)
        except RefusedError as error:
            refusal = await _with_reason(context.session, act, error, if_present="refused", if_absent="absent")
            suffix = f" (after {', '.join(done)} succeeded)" if done else ""
            raise RefusedError(f"{refusal}{suffix}", refusal.reason) from None
        done.append(action)
    return {}


async def remove(context: ActionContext, act: QueueMemberRemove) -> dict[str, Any]:
    """Remove a member; a missing one is `absent`, one of queues.conf is refused."""
    try:
        await send_action(context.session, "QueueRemove", Queue=act.queue, Interface=act.interface)
    except RefusedError as error:
        raise await _with_reason(context.session, act, error, if_present="refused", if_absent="absent") from None
    return {}


def _actions(act: QueueMemberChange) -> list[tuple[str, dict[str, str]]]:
    actions = []
    if act.penalty is not None:
        actions.append(("QueuePenalty", {"Penalty": str(act.penalty)}))
    if act.ring_inuse is not None:
        actions.append(("QueueMemberRingInUse", {"RingInUse": _boolean(on=act.ring_inuse)}))
    if act.paused is not None:
        reason = {"Reason": act.reason} if act.reason else {}
        actions.append(("QueuePause", {"Paused": _boolean(on=act.paused), **reason}))
    return actions


async def _with_reason(
    session: Session, act: MemberAct, error: RefusedError, *, if_present: Reason, if_absent: Reason
) -> RefusedError:
    """Return the refusal with a reason that depends on whether the member exists; `absent` without the queue."""
    if str(error) == DENIED or error.reason == "invalid":
        return error
    answer = await session.request("QueueStatus", "", keep_headers("Event", "Location"), Queue=act.queue)
    if not any(message.event == "QueueParams" for message in answer):
        return RefusedError(str(error), "absent")
    is_member = any(message.event == "QueueMember" and message.location == act.interface for message in answer)
    return RefusedError(str(error), if_present if is_member else if_absent)


def _boolean(*, on: bool) -> str:
    return "true" if on else "false"
