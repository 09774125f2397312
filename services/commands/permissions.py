"""Permissions of users: grant, replace, revoke."""

import uuid

import asyncpg

from schemas.users import PermissionGranted, PermissionRevoked
from services.accounts.accounts import MODELS
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Decision, Outcome, decide
from services.commands.users import require_other_admin, require_user
from services.runtime.errors import Conflict, NotFound

GRANT = """
SELECT g.value AS uuid, u.uuid AS user_uuid, g.key AS permission
FROM users u CROSS JOIN LATERAL jsonb_each_text(u.permissions) AS g
WHERE g.value = $1
"""


async def grant_permission(
    context: CommandContext, request: RequestContext, user_uuid: str, permission: str, collection: str
) -> Outcome:
    """Grant a permission to a user; the grant is located below the path ``collection``."""
    grant_uuid = str(uuid.uuid4())

    async def decision(connection: asyncpg.Connection) -> Decision:
        request.recheck(context.accounts)
        _reject_held(await require_user(connection, user_uuid), permission)
        granted = PermissionGranted(grant_uuid, user_uuid, permission)
        return Decision([granted], location=f"{collection}/{grant_uuid}")

    return await decide(context, request, MODELS, decision)


async def replace_permission(
    context: CommandContext, request: RequestContext, grant_uuid: str, permission: str
) -> Outcome:
    """Replace the permission of a grant by another one."""

    async def decision(connection: asyncpg.Connection) -> Decision:
        request.recheck(context.accounts)
        grant = await _require_grant(connection, grant_uuid)
        if permission == grant["permission"]:
            return Decision([])
        _reject_held(await require_user(connection, grant["user_uuid"]), permission)
        granted = PermissionGranted(grant["uuid"], grant["user_uuid"], permission)
        return Decision([await _revoked(connection, grant), granted])

    return await decide(context, request, MODELS, decision)


async def revoke_permission(context: CommandContext, request: RequestContext, grant_uuid: str) -> Outcome:
    """Revoke the permission of a grant."""

    async def decision(connection: asyncpg.Connection) -> Decision:
        request.recheck(context.accounts)
        return Decision([await _revoked(connection, await _require_grant(connection, grant_uuid))])

    return await decide(context, request, MODELS, decision)


async def _require_grant(connection: asyncpg.Connection, grant_uuid: str) -> asyncpg.Record:
    row = await connection.fetchrow(GRANT, grant_uuid)
    if row is None:
        raise NotFound(f"not found: permission {grant_uuid}")
    return row


def _reject_held(user: asyncpg.Record, permission: str) -> None:
    if permission in user["permissions"]:
        raise Conflict(f"the user already has the permission {permission}")


async def _revoked(connection: asyncpg.Connection, grant: asyncpg.Record) -> PermissionRevoked:
    if grant["permission"] == "admin":
        await require_other_admin(connection, grant["user_uuid"])
    return PermissionRevoked(grant["uuid"], grant["user_uuid"], grant["permission"])
