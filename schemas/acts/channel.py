"""Acts on channels."""

from schemas.acts import Act


class ChannelHangup(Act, frozen=True, tag="channel.hangup"):
    """Hang one channel up (AMI Hangup); ``channel`` is its name."""

    channel: str
