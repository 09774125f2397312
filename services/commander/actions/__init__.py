"""What the commander can do at a PBX: one function for each act, over one AMI session."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from schemas.acts import Act
from schemas.acts.channel import ChannelHangup, ChannelOriginate
from schemas.acts.config import ConfigReplace, ConfigSection, ConfigTrunk
from schemas.acts.module import ModuleLoad, ModuleReload, ModuleUnload
from schemas.acts.queue import QueueMemberAdd, QueueMemberChange, QueueMemberRemove
from services.asterisk.ami.session import Session
from services.commander.actions import channel, config, module, queue, trunk
from services.commander.actions.context import Desk

Perform = Callable[[Session, Any], Awaitable[dict[str, Any]]]
"""Does it and returns what `ActSucceeded.result` says. Raises RefusedError, LinkLostError or TimeoutError."""

PERFORM: Mapping[type[Act], Perform] = {
    ChannelHangup: channel.hangup,
    ChannelOriginate: channel.originate,
    ModuleLoad: module.load,
    ModuleReload: module.reload,
    ModuleUnload: module.unload,
    QueueMemberAdd: queue.add,
    QueueMemberChange: queue.change,
    QueueMemberRemove: queue.remove,
}

AtDesk = Callable[[Desk, Any], Awaitable[dict[str, Any]]]
"""As `Perform`, for what needs more than the session."""

PERFORM_AT_DESK: Mapping[type[Act], AtDesk] = {
    ConfigReplace: config.replaced,
    ConfigSection: config.section,
    ConfigTrunk: trunk.trunk,
}


async def perform(desk: Desk, act: Act) -> dict[str, Any]:
    """Do it, in either way."""
    at_desk = PERFORM_AT_DESK.get(type(act))
    return await (PERFORM[type(act)](desk.session, act) if at_desk is None else at_desk(desk, act))
