"""Acts on members of queues (AMI QueueAdd, QueuePause, QueuePenalty, QueueMemberRingInUse, QueueRemove).

Why Asterisk 16 and 22 refuse one of these stands in English only; QueueStatus tells it in headers.
"""

from typing import Any

from schemas.acts import Reason
from schemas.acts.queue import QueueMemberAdd, QueueMemberChange, QueueMemberRemove
from schemas.refusals import DENIED
from services.asterisk.ami.actions import RefusedError, done
from services.asterisk.ami.question import keep_headers
from services.asterisk.ami.session import Session

Change = QueueMemberAdd | QueueMemberChange | QueueMemberRemove


async def add(session: Session, act: QueueMemberAdd) -> dict[str, Any]:
    """Add a member; one that is there is `conflict`, no such queue `absent`."""
    optional = {"MemberName": act.name, "StateInterface": act.state_interface}
    try:
        await done(
            session,
            "QueueAdd",
            Queue=act.queue,
            Interface=act.interface,
            Penalty=str(act.penalty),
            Paused=_yes(on=act.paused),
            **{name: value for name, value in optional.items() if value},
        )
    except RefusedError as error:
        raise await _judged(session, act, error, there="conflict", gone="refused") from None
    return {}


async def change(session: Session, act: QueueMemberChange) -> dict[str, Any]:
    """Change a member, one action after the other; one that is not there is `absent`."""
    done_so_far: list[str] = []
    for action, headers in _changes(act):
        try:
            await done(session, action, Queue=act.queue, Interface=act.interface, **headers)
        except RefusedError as error:
            judged = await _judged(session, act, error, there="refused", gone="absent")
            said = f" ({', '.join(done_so_far)}: done before)" if done_so_far else ""
            raise RefusedError(f"{judged}{said}", judged.reason) from None
        done_so_far.append(action)
    return {}


async def remove(session: Session, act: QueueMemberRemove) -> dict[str, Any]:
    """Remove a member; one that is not there is `absent`, one of queues.conf is refused."""
    try:
        await done(session, "QueueRemove", Queue=act.queue, Interface=act.interface)
    except RefusedError as error:
        raise await _judged(session, act, error, there="refused", gone="absent") from None
    return {}


def _changes(act: QueueMemberChange) -> list[tuple[str, dict[str, str]]]:
    actions = []
    if act.penalty is not None:
        actions.append(("QueuePenalty", {"Penalty": str(act.penalty)}))
    if act.ring_inuse is not None:
        actions.append(("QueueMemberRingInUse", {"RingInUse": _yes(on=act.ring_inuse)}))
    if act.paused is not None:
        reason = {"Reason": act.reason} if act.reason else {}
        actions.append(("QueuePause", {"Paused": _yes(on=act.paused), **reason}))
    return actions


async def _judged(session: Session, act: Change, error: RefusedError, *, there: Reason, gone: Reason) -> RefusedError:
    """Return the refusal with its reason: as the member is there or gone; `absent` without the queue."""
    if str(error) == DENIED or error.reason == "invalid":
        return error
    told = await session.ask("QueueStatus", "", keep_headers("Event", "Location"), Queue=act.queue)
    if not any(message.event == "QueueParams" for message in told):
        return RefusedError(str(error), "absent")
    member = any(message.event == "QueueMember" and message.location == act.interface for message in told)
    return RefusedError(str(error), there if member else gone)


def _yes(*, on: bool) -> str:
    return "true" if on else "false"
