"""Users, who may log in, and their permissions."""

import uuid
from datetime import datetime

from msgspec import field
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.users import PermissionEvent, UserChange, UserEvent

GRANTS = uuid.UUID("0a4b2c55-7a5b-4f0e-9d4c-2f6f3d1f9b57")


class User(Row):
    """One user; ``permissions`` are those of schemas/users.py, each with the uuid of its grant."""

    uuid: str
    username: str
    name: str
    password_hash: str
    chosen_by: str
    tm_create: datetime
    context: str = ""
    permissions: dict[str, str] = field(default_factory=dict)


def by_uuid(e: UserEvent | UserChange) -> Key | None:
    # Only Ringledger's own events have no pbx: an event of this name from a PBX creates no user.
    return (e.uuid,) if not e.pbx else None


def by_user(e: PermissionEvent) -> Key | None:
    return (e.user_uuid,) if not e.pbx else None


def first_grant(user_uuid: str, permission: str) -> str:
    """Return the uuid of a grant that was created with the user, whose event has the permission only."""
    return str(uuid.uuid5(GRANTS, f"{user_uuid}/{permission}"))


def create(row: User | None, e: UserEvent) -> User:
    return row or User(
        pbx="",
        tm_update=e.at,
        uuid=e.uuid,
        username=e.username,
        name=e.name,
        password_hash=e.password_hash,
        chosen_by=e.origin,
        tm_create=e.at,
        context=e.context,
        permissions={permission: first_grant(e.uuid, permission) for permission in e.permissions},
    )


def change_password(row: User | None, e: UserEvent) -> User | None:
    return replace(row, password_hash=e.password_hash, chosen_by=e.origin) if row else None


def change(row: User | None, e: UserChange) -> User | None:
    if row is None:
        return None
    return replace(
        row,
        username=row.username if e.username is None else e.username,
        name=row.name if e.name is None else e.name,
        context=row.context if e.context is None else e.context,
    )


def delete(_row: User | None, _e: UserChange) -> None:
    return None


def grant(row: User | None, e: PermissionEvent) -> User | None:
    return replace(row, permissions=row.permissions | {e.permission: e.uuid}) if row else None


def revoke(row: User | None, e: PermissionEvent) -> User | None:
    if row is None:
        return None
    return replace(row, permissions={p: grant for p, grant in row.permissions.items() if p != e.permission})


USERS = ReadModel(
    name="users",
    version=2,
    row=User,
    key=("uuid",),
    on={
        "UserCreated": Handler(UserEvent, by_uuid, create),
        "PasswordChanged": Handler(UserEvent, by_uuid, change_password),
        "UserChanged": Handler(UserChange, by_uuid, change),
        "UserDeleted": Handler(UserChange, by_uuid, delete, deletes_unseen=True),
        "PermissionGranted": Handler(PermissionEvent, by_user, grant),
        "PermissionRevoked": Handler(PermissionEvent, by_user, revoke),
    },
)
