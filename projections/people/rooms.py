"""Rooms: who is in them. A room is there as long as it has a member; its messages are a model of their own."""

from datetime import datetime

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.social import ChatEvent, RoomEvent, UserGone


class Room(Row):
    """One room; ``kind`` is 1 (one to one) or 2 (group), ``opened_for`` everybody it was opened for.

    ``members`` stand in the order in which they came. The owner is the creator, and after the creator has left the
    member who has been there longest.
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


def opened(row: Room | None, e: RoomEvent) -> Room:
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


def joined(row: Room | None, e: RoomEvent) -> Room | None:
    if row is None:
        return None
    return replace(row, members=[*row.members, *(user for user, _ in e.chats if user not in row.members)])


def of_chat(e: ChatEvent) -> Key | None:
    return (e.room_uuid,) if not e.pbx else None


def left(row: Room | None, e: ChatEvent) -> Room | None:
    return without(row, e.user_uuid) if row else None


def by_member(e: UserGone) -> Key | None:
    return (e.uuid,) if not e.pbx else None


def gone(row: Room, e: UserGone) -> Room | None:
    return without(row, e.uuid)


def without(row: Room, user: str) -> Room | None:
    """Return the room without this member, None when nobody is left."""
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
        "RoomOpened": Handler(RoomEvent, by_uuid, opened),
        "RoomJoined": Handler(RoomEvent, by_uuid, joined),
        "ChatLeft": Handler(ChatEvent, of_chat, left),
        "UserDeleted": Handler(UserGone, by_member, gone, match_column=("members",)),
    },
)
