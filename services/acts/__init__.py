"""What the commander can do at a PBX: one function for each act, over one AMI session."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from schemas.acts import Act
from schemas.acts.channel import ChannelHangup
from services.acts import channel
from services.ami.session import Session

Perform = Callable[[Session, Any], Awaitable[dict[str, Any]]]
"""Does it and returns what `ActSucceeded.result` says. Raises RefusedError, LinkLostError or TimeoutError."""

PERFORM: Mapping[type[Act], Perform] = {
    ChannelHangup: channel.hangup,
}
