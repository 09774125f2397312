"""Acts on channels (AMI Hangup, Asterisk 16 and 22)."""

from typing import Any

from schemas.acts.channel import ChannelHangup
from services.acts.asked import done
from services.ami.session import Session


async def hangup(session: Session, act: ChannelHangup) -> dict[str, Any]:
    """Hang a channel up; "No such channel" is `absent`."""
    await done(session, "Hangup", Channel=act.channel)
    return {}
