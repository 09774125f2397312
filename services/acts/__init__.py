"""What the commander can do at a PBX: one function for each act, over one AMI session."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from schemas.acts import Act
from schemas.acts.channel import ChannelHangup, ChannelOriginate
from schemas.acts.module import ModuleLoad, ModuleReload, ModuleUnload
from schemas.acts.queue import QueueMemberAdd, QueueMemberChange, QueueMemberRemove
from services.acts import channel, module, queue
from services.ami.session import Session

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
