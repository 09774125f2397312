"""Acts on channels."""

from msgspec import field

from schemas.acts import Act


class ChannelHangup(Act, frozen=True, tag="channel.hangup"):
    """Hang one channel up (AMI Hangup); ``channel`` is its name."""

    channel: str


class ChannelOriginate(Act, frozen=True, tag="channel.originate", kw_only=True):
    """Call ``channel`` and, when it answers, have it go on at an extension, or run an application (AMI Originate).

    ``channel`` is what to dial, like ``PJSIP/100``; ``caller_id`` is what it is shown, like ``Alice <100>``;
    ``timeout`` is how long it may ring, in milliseconds; ``variables`` are set on the channel; ``account`` is its
    account code. Empty texts are not sent; where ``application`` (with its arguments in ``data``) is given, the
    extension is not. It has succeeded when Asterisk has taken the order: whether anybody
    answers is heard as events.
    """

    channel: str
    context: str = ""
    exten: str = ""
    priority: int = 1
    application: str = ""
    data: str = ""
    caller_id: str = ""
    timeout: int = 30000
    variables: dict[str, str] = field(default_factory=dict)
    account: str = ""
