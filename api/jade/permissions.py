"""/admin/user/permissions (seed 001:3789-3791, headed only): the permissions of users, one item for each grant."""

from aiohttp import web
from msgspec import Struct

from api.http.body import Uuid, read_body
from api.http.idempotency import command_args
from api.http.views.view import storable_text
from api.jade.resource import Resource
from api.jade.writes import write_response
from schemas.users import Permission
from services.commands.permissions import grant_permission, replace_permission, revoke_permission

SQL = """
SELECT g.value AS uuid, u.uuid AS user_uuid, u.username, g.key AS permission
FROM users u CROSS JOIN LATERAL jsonb_each_text(u.permissions) AS g
WHERE $1::text IS NULL OR g.value = $1
ORDER BY u.tm_create, u.uuid, g.key
"""


class PostBody(Struct, frozen=True):
    """Body of a POST."""

    user_uuid: Uuid
    permission: Permission


class PutBody(Struct, frozen=True):
    """Body of a PUT: the permission that replaces the one of the grant."""

    permission: Permission


async def create(request: web.Request) -> web.Response:
    body = await read_body(request, PostBody)
    outcome = await grant_permission(
        *await command_args(request), body.user_uuid.lower(), body.permission, request.path
    )
    return write_response(outcome)


async def update(request: web.Request) -> web.Response:
    body = await read_body(request, PutBody)
    grant_uuid = storable_text(request.match_info["detail"])
    return write_response(await replace_permission(*await command_args(request), grant_uuid, body.permission))


async def delete(request: web.Request) -> web.Response:
    grant_uuid = storable_text(request.match_info["detail"])
    return write_response(await revoke_permission(*await command_args(request), grant_uuid))


GRANTS = Resource("permissions", SQL, ("users",), pbx=None)
