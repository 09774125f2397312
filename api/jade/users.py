"""/admin/user/users and /manager/users (seed 001:3669-3783, 3829-3964): the users of Ringledger."""

from datetime import datetime
from typing import Annotated, Any

import asyncpg
from aiohttp import web
from msgspec import Meta, Struct, field

from api.http.body import read_body
from api.http.idempotency import command_args
from api.http.views.view import storable_text
from api.jade.resource import Resource
from api.jade.writes import write_response
from schemas.secrets import MASK
from schemas.users import Permission
from services.commands.users import NewUser, UserPatch, change_user, create_user, delete_user

Text = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
# HTTP Basic ends the user name at the first colon.
Username = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f:]+\Z")]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]

USERS_SQL = f"""
SELECT uuid, username, name, '{MASK}' AS password, tm_create, tm_update
FROM users
WHERE $1::text IS NULL OR uuid = $1
ORDER BY tm_create, uuid
"""

# Here tm_update is null until a user is changed (seed 001:3873).
MANAGED_SQL = f"""
SELECT uuid, username, name, '{MASK}' AS password, context, tm_create, nullif(tm_update, tm_create) AS tm_update,
       ARRAY(SELECT jsonb_object_keys(permissions) ORDER BY 1) AS permissions
FROM users
WHERE $1::text IS NULL OR uuid = $1
ORDER BY tm_create, uuid
"""


class PermissionItem(Struct, frozen=True):
    """One of ``permissions`` in a body."""

    permission: Permission


class PostBody(Struct, frozen=True):
    """Body of a POST."""

    username: Username
    password: Password
    name: Text = ""
    context: Text = ""
    permissions: list[PermissionItem] = field(default_factory=list)


class PutBody(Struct, frozen=True):
    """Body of a PUT; an absent or null member stays. ``permissions`` replaces all permissions of the user."""

    username: Username | None = None
    password: Password | None = None
    name: Text | None = None
    context: Text | None = None
    permissions: list[PermissionItem] | None = None


def managed(row: asyncpg.Record, _now: datetime) -> dict[str, Any]:
    return {**row, "permissions": [{"permission": name} for name in row["permissions"]]}


async def create(request: web.Request) -> web.Response:
    body = await read_body(request, PostBody)
    permissions = frozenset(granted.permission for granted in body.permissions)
    new = NewUser(body.username, body.password, body.name, body.context, permissions)
    return write_response(await create_user(*await command_args(request), new, request.path))


async def update(request: web.Request) -> web.Response:
    return await update_by_uuid(request, storable_text(request.match_info["detail"]))


async def update_by_uuid(request: web.Request, user_uuid: str) -> web.Response:
    """Change a user according to the body."""
    body = await read_body(request, PutBody)
    permissions = None if body.permissions is None else frozenset(granted.permission for granted in body.permissions)
    change = UserPatch(body.username, body.password, body.name, body.context, permissions)
    return write_response(await change_user(*await command_args(request), user_uuid, change))


async def delete(request: web.Request) -> web.Response:
    user_uuid = storable_text(request.match_info["detail"])
    return write_response(await delete_user(*await command_args(request), user_uuid))


USERS = Resource("users", USERS_SQL, ("users",), pbx=None)
MANAGED = Resource("managed", MANAGED_SQL, ("users",), managed, pbx=None)
