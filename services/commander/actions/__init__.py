"""The acts that the commander can carry out: one function for each, over one AMI session."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from schemas.acts import Act
from schemas.acts.channel import ChannelHangup, ChannelOriginate
from schemas.acts.config import ConfigReplace, ConfigSection, ConfigTrunk
from schemas.acts.module import ModuleLoad, ModuleReload, ModuleUnload
from schemas.acts.queue import QueueMemberAdd, QueueMemberChange, QueueMemberRemove
from services.commander.actions import channel, config, module, queue, trunk
from services.commander.actions.context import ActionContext

Action = Callable[[ActionContext, Any], Awaitable[dict[str, Any]]]
"""Carries out an act and returns `ActSucceeded.result`. Raises RefusedError, LinkLostError or TimeoutError."""

ACTIONS: Mapping[type[Act], Action] = {
    ChannelHangup: channel.hangup,
    ChannelOriginate: channel.originate,
    ConfigReplace: config.replace_file,
    ConfigSection: config.change_section,
    ConfigTrunk: trunk.change_trunk,
    ModuleLoad: module.load,
    ModuleReload: module.reload,
    ModuleUnload: module.unload,
    QueueMemberAdd: queue.add,
    QueueMemberChange: queue.change,
    QueueMemberRemove: queue.remove,
}
