"""Buddies: the users on a user's list."""

from datetime import datetime

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.social import BuddyEvent, UserGone


class Buddy(Row):
    """One entry of the list of ``user_uuid``; ``uuid_user`` is the buddy."""

    user_uuid: str
    uuid_user: str
    uuid: str
    tm_create: datetime
    name: str | None = None
    detail: str | None = None


def by_pair(e: BuddyEvent) -> Key | None:
    # Only Ringledger's own events have no pbx, here and in the other models of users' data.
    return (e.user_uuid, e.uuid_user) if not e.pbx else None


def add(row: Buddy | None, e: BuddyEvent) -> Buddy:
    return row or Buddy(
        pbx="",
        tm_update=e.at,
        user_uuid=e.user_uuid,
        uuid_user=e.uuid_user,
        uuid=e.uuid,
        tm_create=e.at,
        name=e.name,
        detail=e.detail,
    )


def by_user(e: UserGone) -> Key | None:
    return (e.uuid,) if not e.pbx else None


def delete(_row: Buddy, _e: UserGone) -> None:
    return None


BUDDIES = ReadModel(
    name="buddies",
    version=1,
    row=Buddy,
    key=("user_uuid", "uuid_user"),
    on={
        "BuddyAdded": Handler(BuddyEvent, by_pair, add),
        "UserDeleted": Handler(UserGone, by_user, delete, match_column=("user_uuid", "uuid_user")),
    },
)
