"""Events about users and their tokens. They are ours: source ``ringledger``, pbx empty.

What is written is a Struct of `Ours` (a `Fact` where somebody decided it); folds read it as a shape, like every other
event.
"""

from typing import Literal

from msgspec import field

from schemas.ami import OurEvent
from schemas.facts import Fact
from schemas.log import Ours

Origin = Literal["settings", "user"]
"""Who chose a password: the settings (they may change it again at the next start) or a person (they may not)."""


class UserCreated(Fact, frozen=True):
    """A user; ``password_hash`` is argon2id in its usual text form."""

    uuid: str
    username: str
    name: str
    password_hash: str
    permissions: tuple[str, ...]
    origin: Origin


class PasswordChanged(Fact, frozen=True):
    """A user's new password."""

    uuid: str
    password_hash: str
    origin: Origin


class TokenIssued(Fact, frozen=True):
    """A login. ``token_hash`` is the SHA-256 of the token in hexadecimal; the token itself is nowhere."""

    token_hash: str
    user_uuid: str


class TokenUsed(Ours, frozen=True):
    """A token was used at ``used`` (seconds since the epoch); written now and then, not for every request."""

    token_hash: str
    used: float


class TokenRevoked(Fact, frozen=True):
    """A token's end."""

    token_hash: str
    reason: Literal["logout", "expired", "password changed"]


class UserEvent(OurEvent, frozen=True, kw_only=True, gc=False):
    """UserCreated and PasswordChanged, as folds read them."""

    uuid: str
    password_hash: str
    origin: str
    username: str = ""
    name: str = ""
    permissions: list[str] = field(default_factory=list)


class TokenEvent(OurEvent, frozen=True, kw_only=True, gc=False):
    """TokenIssued, TokenUsed and TokenRevoked, as folds read them."""

    token_hash: str
    user_uuid: str = ""
    used: float = 0.0
