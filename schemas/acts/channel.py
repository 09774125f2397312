"""Acts on channels."""

from msgspec import field

from schemas.acts import Act


class ChannelHangup(Act, frozen=True, tag="channel.hangup"):
    """Hang up one channel (AMI Hangup); ``channel`` is its name."""

    channel: str


class ChannelOriginate(Act, frozen=True, tag="channel.originate", kw_only=True):
    """Call ``channel``, and connect it to an extension or an application when it answers (AMI Originate).

    ``channel`` is the number to dial, like ``PJSIP/100``; ``caller_id`` is displayed there, like ``Alice <100>``.
    ``timeout`` limits the ringing, in milliseconds; ``variables`` are set on the channel; ``account`` is its account
    code. Empty texts are not sent. With an ``application`` (its arguments in ``data``) the extension is not sent. The
    act succeeds when Asterisk accepts the request; the call itself follows as events.
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
