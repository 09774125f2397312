"""Buddies: which users a user has on the list."""

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
    # Only our own events have no pbx, here and in the other models of what belongs to users.
    return (e.user_uuid, e.uuid_user) if not e.pbx else None


def added(row: Buddy | None, e: BuddyEvent) -> Buddy:
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


def gone(_row: Buddy, _e: UserGone) -> None:
    return None


BUDDIES = ReadModel(
    name="buddies",
    version=1,
    row=Buddy,
    key=("user_uuid", "uuid_user"),
    on={
        "BuddyAdded": Handler(BuddyEvent, by_pair, added),
        "UserDeleted": Handler(UserGone, by_user, gone, match_column=("user_uuid", "uuid_user")),
    },
)
