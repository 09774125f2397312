"""Rooms and their members. A room exists as long as it has a member; its messages are a model of their own."""

from datetime import datetime

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.social import ChatEvent, RoomEvent, UserGone


class Room(Row):
    """One room; ``kind`` is 1 (one to one) or 2 (group), ``opened_for`` holds its first members.

    ``members`` are in the order in which they joined. The owner is the creator, and after the creator has left, the
    member of the longest standing.
    """

    uuid: str
    kind: int
    uuid_creator: str
    uuid_owner: str
    tm_create: datetime
    members: list[str]
    opened_for: list[str]


def by_uuid(e: RoomEvent) -> Key | None:
    return (e.uuid,) if not e.pbx else None


def create(row: Room | None, e: RoomEvent) -> Room:
    members = [user for user, _ in e.chats]
    return row or Room(
        pbx="",
        tm_update=e.at,
        uuid=e.uuid,
        kind=e.kind,
        uuid_creator=e.creator,
        uuid_owner=e.creator,
        tm_create=e.at,
        members=members,
        opened_for=members,
    )


def join(row: Room | None, e: RoomEvent) -> Room | None:
    if row is None:
        return None
    return replace(row, members=[*row.members, *(user for user, _ in e.chats if user not in row.members)])


def of_chat(e: ChatEvent) -> Key | None:
    return (e.room_uuid,) if not e.pbx else None


def leave(row: Room | None, e: ChatEvent) -> Room | None:
    return without_member(row, e.user_uuid) if row else None


def by_member(e: UserGone) -> Key | None:
    return (e.uuid,) if not e.pbx else None


def remove_user(row: Room, e: UserGone) -> Room | None:
    return without_member(row, e.uuid)


def without_member(row: Room, user: str) -> Room | None:
    """Return the room without this member, None when it has no member left."""
    members = [member for member in row.members if member != user]
    if not members:
        return None
    return replace(row, members=members, uuid_owner=members[0] if row.uuid_owner == user else row.uuid_owner)


ROOMS = ReadModel(
    name="rooms",
    version=1,
    row=Room,
    key=("uuid",),
    on={
        "RoomOpened": Handler(RoomEvent, by_uuid, create),
        "RoomJoined": Handler(RoomEvent, by_uuid, join),
        "ChatLeft": Handler(ChatEvent, of_chat, leave),
        "UserDeleted": Handler(UserGone, by_member, remove_user, match_column=("members",)),
    },
)
