"""Events of a channel in ``AGI(agi:async)`` (class agi), and of its end (class call)."""

from msgspec import field

from schemas.ami import AmiEvent


class AsyncAgiEvent(AmiEvent, frozen=True, kw_only=True, gc=False):
    """AsyncAGIStart, AsyncAGIExec, AsyncAGIEnd, HangupRequest, SoftHangupRequest, Hangup.

    ``env`` (Start) and ``result`` (Exec) are percent-encoded texts of several lines; ``command_id`` is what the AGI
    action called the command. Asterisk cuts ``env`` and ``result`` at 1,024 bytes before it encodes them.
    """

    channel: str = field(name="Channel", default="")
    unique_id: str = field(name="Uniqueid", default="")
    env: str = field(name="Env", default="")
    command_id: str = field(name="CommandId", default="")
    result: str = field(name="Result", default="")
