"""Acts on a PBX: what is asked of the commander, and the events that tell how it went.

They stand in the log under their PBX. A request is sent at most once: `ActSent` is durable before anything goes to
Asterisk, and a request with an `ActSent` and no outcome becomes `ActUnknown`.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from schemas.ami import OwnEvent
from schemas.facts import Fact
from schemas.log import RingledgerEvent

Reason = Literal["refused", "absent", "conflict", "invalid", "unreachable", "expired", "impossible"]
"""Why an act failed: Asterisk said no; it has no such thing; it has it already; a value is none; no link to the PBX;
nobody sent it in time, and nobody will; this version of the commander does not know it."""


class Act(Struct, frozen=True, tag_field="act"):
    """Base of what can be asked; the tag names it, like ``channel.hangup``. No text in it has CR, LF or NUL."""


class ActRequested(Fact, frozen=True):
    """Somebody wants this done. ``key`` and ``digest`` belong to an Idempotency-Key, if there was one."""

    id: str
    act: dict[str, Any]
    key: str = ""
    digest: str = ""


class ActSent(RingledgerEvent, frozen=True):
    """From here on Asterisk may have done it."""

    id: str


class ActSucceeded(RingledgerEvent, frozen=True):
    """Asterisk did it; ``message`` is its own word, ``result`` what the act tells besides."""

    id: str
    message: str = ""
    result: dict[str, Any] = field(default_factory=dict)


class ActFailed(RingledgerEvent, frozen=True):
    """It was not done; ``message`` is Asterisk's own word where Asterisk said no."""

    id: str
    reason: Reason
    message: str


class ActUnknown(RingledgerEvent, frozen=True):
    """It was sent and may have been done: the link was lost, or the commander died. It is never sent again."""

    id: str
    message: str


OUTCOMES = (ActSucceeded, ActFailed, ActUnknown)


class ActEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """All of these, as folds read them."""

    type: str
    id: str
    actor: str = ""
    dialect: str = ""
    request: str = ""
    act: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    digest: str = ""
    reason: str = ""
    message: str = ""
    result: dict[str, Any] = field(default_factory=dict)


def builtins(act: Act) -> dict[str, Any]:
    """Return the act as the log holds it."""
    made: dict[str, Any] = msgspec.to_builtins(act)
    return made
