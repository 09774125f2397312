"""/admin/user/permissions (seed 001:3789-3791, headed only): what users may do, one item for each grant."""

import uuid

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.http.auth import recheck_permission
from api.http.body import Uuid, read_body
from api.http.errors import ApiError
from api.http.views import storable_text
from api.jade.resource import Resource
from api.jade.users import everybody, other_admin, somebody, the_user
from api.jade.writes import answer
from schemas.users import Permission, PermissionGranted, PermissionRevoked
from services.accounts.accounts import MODELS
from services.commands.decide import Decision, decide

SQL = """
SELECT g.value AS uuid, u.uuid AS user_uuid, u.username, g.key AS permission
FROM users u CROSS JOIN LATERAL jsonb_each_text(u.permissions) AS g
WHERE $1::text IS NULL AND ($2::text IS NULL OR g.value = $2)
ORDER BY u.tm_create, u.uuid, g.key
"""


class NewGrant(Struct, frozen=True):
    """Body of a POST."""

    user_uuid: Uuid
    permission: Permission


class Instead(Struct, frozen=True):
    """Body of a PUT: the permission that takes the place of the one that the grant was of."""

    permission: Permission


async def create(request: web.Request) -> web.Response:
    new = await read_body(request, NewGrant)
    grant, user_uuid = str(uuid.uuid4()), new.user_uuid.lower()

    async def decision(connection: asyncpg.Connection) -> Decision:
        recheck_permission(request)
        missing(await the_user(connection, user_uuid), new.permission)
        granted = PermissionGranted(grant, user_uuid, new.permission)
        return Decision([granted], location=f"{request.path}/{grant}")

    return answer(await decide(request, MODELS, decision))


async def update(request: web.Request) -> web.Response:
    wanted = await read_body(request, Instead)

    async def decision(connection: asyncpg.Connection) -> Decision:
        recheck_permission(request)
        row = await the_grant(connection, request)
        if wanted.permission == row["permission"]:
            return Decision([])
        missing(await the_user(connection, row["user_uuid"]), wanted.permission)
        if row["permission"] == "admin":
            await other_admin(connection, row["user_uuid"])
        granted = PermissionGranted(row["uuid"], row["user_uuid"], wanted.permission)
        return Decision([revoked(row), granted])

    return answer(await decide(request, MODELS, decision))


async def delete(request: web.Request) -> web.Response:
    async def decision(connection: asyncpg.Connection) -> Decision:
        recheck_permission(request)
        row = await the_grant(connection, request)
        if row["permission"] == "admin":
            await other_admin(connection, row["user_uuid"])
        return Decision([revoked(row)])

    return answer(await decide(request, MODELS, decision))


async def the_grant(connection: asyncpg.Connection, request: web.Request) -> asyncpg.Record:
    """Return the grant that the path names. Raises ApiError 404."""
    row = await connection.fetchrow(SQL, None, storable_text(request.match_info["detail"]))
    if row is None:
        raise ApiError(404, "no such permission")
    return row


def missing(user: asyncpg.Record, permission: str) -> None:
    """Raise ApiError 409 if the user has the permission already."""
    if permission in user["permissions"]:
        raise ApiError(409, f"the user has the permission {permission} already")


def revoked(row: asyncpg.Record) -> PermissionRevoked:
    return PermissionRevoked(row["uuid"], row["user_uuid"], row["permission"])


GRANTS = Resource("permissions", SQL, ("users",), all_by=everybody, one_by=somebody)
