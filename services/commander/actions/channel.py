"""Acts on channels (AMI Hangup and Originate, Asterisk 16 and 22)."""

import re
from typing import Any

from schemas.acts.channel import ChannelHangup, ChannelOriginate
from services.asterisk.ami.actions import RefusedError, send_action
from services.commander.actions.context import ActionContext

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A name of a variable. A dialplan function does not match, because it could do anything."""
SPECIAL = re.compile(r'[\\",()\[\]]')
"""Letters with a meaning in AMI's list of variables; a backslash escapes them."""


async def hangup(context: ActionContext, act: ChannelHangup) -> dict[str, Any]:
    """Hang up a channel; "No such channel" is `absent`."""
    await send_action(context.session, "Hangup", Channel=act.channel)
    return {}


async def originate(context: ActionContext, act: ChannelOriginate) -> dict[str, Any]:
    """Start a call; Asterisk responds when it has queued the request, and dials afterwards."""
    if not all(VARIABLE.fullmatch(name) for name in act.variables):
        raise RefusedError("the name of a variable consists of letters, digits and _", "invalid")
    if act.priority < 1 or act.timeout < 1:
        raise RefusedError("priority and timeout must be 1 or more", "invalid")
    variables = [f"{name}={_escape(value)}" for name, value in act.variables.items()]
    optional: dict[str, str | list[str]] = {
        "CallerID": act.caller_id,
        "Account": act.account,
        "Variable": variables,
    }
    target: dict[str, str | list[str]] = {"Context": act.context, "Exten": act.exten, "Priority": str(act.priority)}
    if act.application:
        target = {"Application": act.application, "Data": act.data}
    await send_action(
        context.session,
        "Originate",
        Channel=act.channel,
        Timeout=str(act.timeout),
        Async="true",
        **target,
        **{name: value for name, value in optional.items() if value},
    )
    return {}


def _escape(value: str) -> str:
    return SPECIAL.sub(r"\\\g<0>", value)
