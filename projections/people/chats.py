"""Chats: what each member of a room calls it. A chat is there exactly as long as its user is a member."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from projections.engine.model import GroupHandler, Handler, Key, ReadModel, Row
from schemas.social import ChatEvent, RoomEvent, UserGone


class Chat(Row):
    """One user's chat; the first part of the key is the user, so all of a user's are found at once."""

    user_uuid: str
    uuid: str
    room_uuid: str
    tm_create: datetime
    name: str
    detail: str


def of_members(e: RoomEvent) -> list[Key] | None:
    return [*e.chats] if not e.pbx else None


def blank(key: Key, e: RoomEvent) -> Chat:
    user, uuid = key
    return Chat(
        pbx="",
        tm_update=e.at,
        user_uuid=user,
        uuid=uuid,
        room_uuid=e.uuid,
        tm_create=e.at,
        name=e.name,
        detail=e.detail,
    )


def opened(row: Chat, _e: RoomEvent) -> Chat:
    return row


def of_user(e: ChatEvent) -> Key | None:
    return (e.user_uuid, e.uuid) if not e.pbx else None


def changed(row: Chat | None, e: ChatEvent) -> Chat | None:
    return replace(row, name=e.name, detail=e.detail) if row else None


def left(_row: Chat | None, _e: ChatEvent) -> None:
    return None


def all_of_user(e: UserGone) -> Key | None:
    return (e.uuid,) if not e.pbx else None


def gone(_rows: dict[Key, Any], _e: UserGone) -> dict[Key, Any]:
    return {}


CHATS = ReadModel(
    name="chats",
    version=1,
    row=Chat,
    key=("user_uuid", "uuid"),
    on={
        "RoomOpened": Handler(RoomEvent, of_members, opened, initial=blank),
        "RoomJoined": Handler(RoomEvent, of_members, opened, initial=blank),
        "ChatChanged": Handler(ChatEvent, of_user, changed),
        "ChatLeft": Handler(ChatEvent, of_user, left),
        "UserDeleted": GroupHandler(UserGone, all_of_user, gone),
    },
    grouped_by=1,
)
