"""Acts on channels (AMI Hangup and Originate, Asterisk 16 and 22)."""

import re
from typing import Any

from schemas.acts.channel import ChannelHangup, ChannelOriginate
from services.asterisk.ami.actions import RefusedError, done
from services.asterisk.ami.session import Session

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A variable's name; a dialplan function's, which could do anything, is none."""
SPECIAL = re.compile(r'[\\",()\[\]]')
"""Letters that AMI's list of variables has a use for; a backslash takes it from them."""


async def hangup(session: Session, act: ChannelHangup) -> dict[str, Any]:
    """Hang a channel up; "No such channel" is `absent`."""
    await done(session, "Hangup", Channel=act.channel)
    return {}


async def originate(session: Session, act: ChannelOriginate) -> dict[str, Any]:
    """Begin a call; Asterisk answers when it has taken the order, and dials then."""
    if not all(VARIABLE.fullmatch(name) for name in act.variables):
        raise RefusedError("a variable's name is made of letters, digits and _", "invalid")
    if act.priority < 1 or act.timeout < 1:
        raise RefusedError("priority and timeout are 1 or more", "invalid")
    variables = [f"{name}={_literal(value)}" for name, value in act.variables.items()]
    optional: dict[str, str | list[str]] = {
        "CallerID": act.caller_id,
        "Account": act.account,
        "Variable": variables,
    }
    where: dict[str, str | list[str]] = {"Context": act.context, "Exten": act.exten, "Priority": str(act.priority)}
    if act.application:
        where = {"Application": act.application, "Data": act.data}
    await done(
        session,
        "Originate",
        Channel=act.channel,
        Timeout=str(act.timeout),
        Async="true",
        **where,
        **{name: value for name, value in optional.items() if value},
    )
    return {}


def _literal(value: str) -> str:
    return SPECIAL.sub(r"\\\g<0>", value)
