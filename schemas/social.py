"""Events about buddies, chats and messages, which users create through jade's /me. Source ``ringledger``, pbx empty.

A room is shared by its members; a chat is one member's own view of it, with a name and a detail of its own.
"""

from datetime import datetime
from typing import Literal

from msgspec import field

from schemas.ami import OwnEvent
from schemas.facts import Fact

SINGLE, GROUP = 1, 2
Kind = Literal[1, 2]
"""A room's ``type`` on the wire: 1 is one to one, 2 is a group of any size."""

Members = tuple[tuple[str, str], ...]
"""Members of a room, the creator first: (user's uuid, uuid of the user's chat)."""


class BuddyAdded(Fact, frozen=True):
    """A user (``user_uuid``) has put another one (``uuid_user``) on the list of buddies."""

    uuid: str
    user_uuid: str
    uuid_user: str
    name: str | None = None
    detail: str | None = None


class RoomOpened(Fact, frozen=True):
    """A room, and a chat for each member; all chats begin with the same ``name`` and ``detail``."""

    uuid: str
    kind: Kind
    creator: str
    chats: Members
    name: str
    detail: str


class RoomJoined(Fact, frozen=True):
    """Users who have left a one-to-one room are members again, each with a new chat."""

    uuid: str
    chats: Members
    name: str
    detail: str


class ChatChanged(Fact, frozen=True):
    """The new name and detail of a user's chat."""

    uuid: str
    user_uuid: str
    name: str
    detail: str


class ChatLeft(Fact, frozen=True):
    """A user's chat is deleted, and the user is no longer a member of the room."""

    uuid: str
    user_uuid: str
    room_uuid: str


class MessagePosted(Fact, frozen=True):
    """A message in a room. No two messages of one room have the same ``posted`` (UTC), and later ones a later one."""

    uuid: str
    room_uuid: str
    user_uuid: str
    posted: datetime
    message: str


class BuddyEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """BuddyAdded, as folds read it."""

    uuid: str
    user_uuid: str
    uuid_user: str
    name: str | None = None
    detail: str | None = None


class RoomEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """RoomOpened and RoomJoined, as folds read them."""

    uuid: str
    kind: int = SINGLE
    creator: str = ""
    chats: list[tuple[str, str]] = field(default_factory=list)
    name: str = ""
    detail: str = ""


class ChatEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """ChatChanged and ChatLeft, as folds read them."""

    uuid: str
    user_uuid: str
    room_uuid: str = ""
    name: str = ""
    detail: str = ""


class MessageEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """MessagePosted, as folds read it."""

    uuid: str
    room_uuid: str
    user_uuid: str
    posted: datetime
    message: str


class UserGone(OwnEvent, frozen=True, kw_only=True, gc=False):
    """UserDeleted, as the folds of users' data read it."""

    uuid: str
