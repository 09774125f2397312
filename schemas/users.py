"""Events about users and their tokens. Their source is ``ringledger``, their pbx is empty.

The log holds a `RingledgerEvent` (a `Fact` where a user decided it); folds read it as a shape, like every other event.
"""

from typing import Literal

from msgspec import field

from schemas.ami import OwnEvent
from schemas.facts import Fact
from schemas.log import RingledgerEvent

Origin = Literal["settings", "user"]
"""The origin of a password: the settings, which may replace it at the next start, or a user."""


Permission = Literal["admin", "manager", "user", "jeye", "supervisor"]
"""``admin`` permits everything, ``manager`` /manager and all of ``user`` (/me), ``jeye`` the views of cospace.

``supervisor`` permits to read the live views of the PBX, calls, statistics and the event stream.
"""


class UserCreated(Fact, frozen=True):
    """A user; ``password_hash`` is argon2id in its usual text form, ``context`` a dialplan context (a note only)."""

    uuid: str
    username: str
    name: str
    password_hash: str
    permissions: tuple[str, ...]
    origin: Origin
    context: str = ""


class UserChanged(Fact, frozen=True):
    """A change of a user; None leaves a member unchanged."""

    uuid: str
    username: str | None = None
    name: str | None = None
    context: str | None = None


class UserDeleted(Fact, frozen=True):
    """The deletion of a user, and with it of the user's permissions, contacts and tokens."""

    uuid: str


class PermissionGranted(Fact, frozen=True):
    """The grant of a permission; ``uuid`` is that of the grant."""

    uuid: str
    user_uuid: str
    permission: str


class PermissionRevoked(Fact, frozen=True):
    """The revocation of a permission."""

    uuid: str
    user_uuid: str
    permission: str


class PasswordChanged(Fact, frozen=True):
    """A user's new password."""

    uuid: str
    password_hash: str
    origin: Origin


class TokenIssued(Fact, frozen=True):
    """A login. ``token_hash`` is the SHA-256 of the token in hexadecimal; the token itself is not stored."""

    token_hash: str
    user_uuid: str


class TokenUsed(RingledgerEvent, frozen=True):
    """A token was used at ``used`` (seconds since the epoch); appended at intervals, not for every request."""

    token_hash: str
    used: float


class TokenRevoked(Fact, frozen=True):
    """The end of a login."""

    token_hash: str
    reason: Literal["logout", "expired", "password changed", "user deleted"]


class UserEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """UserCreated and PasswordChanged, as folds read them."""

    uuid: str
    password_hash: str
    origin: str
    username: str = ""
    name: str = ""
    context: str = ""
    permissions: list[str] = field(default_factory=list)


class UserChange(OwnEvent, frozen=True, kw_only=True, gc=False):
    """UserChanged and UserDeleted, as folds read them."""

    uuid: str
    username: str | None = None
    name: str | None = None
    context: str | None = None


class PermissionEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """PermissionGranted and PermissionRevoked, as folds read them."""

    uuid: str
    user_uuid: str
    permission: str


class TokenEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """TokenIssued, TokenUsed and TokenRevoked, as folds read them."""

    token_hash: str
    user_uuid: str = ""
    used: float = 0.0
