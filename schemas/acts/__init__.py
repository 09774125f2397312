"""Acts on a PBX: requests to the commander, and the events of their outcomes.

They are in the log under their PBX. A request is sent at most once: `ActSent` is durable before anything goes to
Asterisk, and a request with an `ActSent` and no outcome becomes `ActUnknown`.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from schemas.ami import OwnEvent
from schemas.facts import Fact
from schemas.log import RingledgerEvent

Reason = Literal["refused", "absent", "conflict", "invalid", "unreachable", "expired", "impossible"]
"""Why an act failed.

- `refused`: Asterisk refused it.
- `absent`, `conflict`: its object does not exist, or exists already.
- `invalid`: a value is invalid.
- `unreachable`: the commander has no link to the PBX.
- `expired`: it was not sent in time, and never will be.
- `impossible`: this version of the commander cannot execute it.
"""


class Act(Struct, frozen=True, tag_field="act"):
    """Base of the acts; the tag is the name, like ``channel.hangup``. No text in an act has CR, LF or NUL."""


class ActRequested(Fact, frozen=True):
    """The request of an act. ``key`` and ``digest`` belong to its Idempotency-Key, if there is one."""

    id: str
    act: dict[str, Any]
    key: str = ""
    digest: str = ""


class ActSent(RingledgerEvent, frozen=True):
    """From here on Asterisk may have executed the act."""

    id: str


class ActSucceeded(RingledgerEvent, frozen=True):
    """The success of an act; ``message`` is Asterisk's reply, ``result`` holds further values of the act."""

    id: str
    message: str = ""
    result: dict[str, Any] = field(default_factory=dict)


class ActFailed(RingledgerEvent, frozen=True):
    """The failure of an act, which has had no effect; ``message`` is Asterisk's reply where Asterisk refused it."""

    id: str
    reason: Reason
    message: str


class ActUnknown(RingledgerEvent, frozen=True):
    """An act was sent without an outcome: the link was lost, or the commander died. It is never sent again."""

    id: str
    message: str


class ActEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """The events of acts, as folds read them."""

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
    """Return the act as a JSON object, as in the log."""
    members: dict[str, Any] = msgspec.to_builtins(act)
    return members
