"""Chats: each member's own name and detail of a room. A chat exists as long as its user is a member."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from projections.engine.model import GroupHandler, Handler, Key, ReadModel, Row
from schemas.social import ChatEvent, RoomEvent, UserGone


class Chat(Row):
    """One user's chat; the first part of the key is the user, so one group holds all chats of a user."""

    user_uuid: str
    uuid: str
    room_uuid: str
    tm_create: datetime
    name: str
    detail: str


def of_members(e: RoomEvent) -> list[Key] | None:
    return [*e.chats] if not e.pbx else None


def initial(key: Key, e: RoomEvent) -> Chat:
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


def open_chat(row: Chat, _e: RoomEvent) -> Chat:
    return row


def of_user(e: ChatEvent) -> Key | None:
    return (e.user_uuid, e.uuid) if not e.pbx else None


def change(row: Chat | None, e: ChatEvent) -> Chat | None:
    return replace(row, name=e.name, detail=e.detail) if row else None


def leave(_row: Chat | None, _e: ChatEvent) -> None:
    return None


def all_of_user(e: UserGone) -> Key | None:
    return (e.uuid,) if not e.pbx else None


def delete(_rows: dict[Key, Any], _e: UserGone) -> dict[Key, Any]:
    return {}


CHATS = ReadModel(
    name="chats",
    version=1,
    row=Chat,
    key=("user_uuid", "uuid"),
    on={
        "RoomOpened": Handler(RoomEvent, of_members, open_chat, initial=initial),
        "RoomJoined": Handler(RoomEvent, of_members, open_chat, initial=initial),
        "ChatChanged": Handler(ChatEvent, of_user, change),
        "ChatLeft": Handler(ChatEvent, of_user, leave),
        "UserDeleted": GroupHandler(UserGone, all_of_user, delete),
    },
    grouped_by=1,
)
