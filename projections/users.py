"""Users: who may log in, and what they may do."""

from datetime import datetime

from msgspec import field
from msgspec.structs import replace

from projections.kit import Key, Model, On, Row
from schemas.users import UserEvent


class User(Row):
    """One user; ``permissions`` are ``admin``, ``user`` (jade) and ``jeye`` (cospace)."""

    uuid: str
    username: str
    name: str
    password_hash: str
    chosen_by: str
    tm_create: datetime
    permissions: list[str] = field(default_factory=list)


def by_uuid(e: UserEvent) -> Key | None:
    # Only our own events have no pbx: a PBX that sends an event of this name makes no user.
    return (e.uuid,) if not e.pbx else None


def created(row: User | None, e: UserEvent) -> User:
    return row or User(
        pbx="",
        tm_update=e.at,
        uuid=e.uuid,
        username=e.username,
        name=e.name,
        password_hash=e.password_hash,
        chosen_by=e.origin,
        tm_create=e.at,
        permissions=e.permissions,
    )


def new_password(row: User | None, e: UserEvent) -> User | None:
    return replace(row, password_hash=e.password_hash, chosen_by=e.origin) if row else None


USERS = Model(
    name="users",
    version=1,
    row=User,
    key=("uuid",),
    on={
        "UserCreated": On(UserEvent, by_uuid, created),
        "PasswordChanged": On(UserEvent, by_uuid, new_password),
    },
)
