"""Buddies: the users on a user's list."""

import uuid

import asyncpg

from schemas.social import BuddyAdded
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Decision, Outcome, decide
from services.commands.users import require_users
from services.runtime.errors import Conflict, Invalid

BUDDY = "SELECT uuid FROM buddies WHERE pbx = '' AND user_uuid = $1 AND uuid_user = $2"


async def add_buddy(
    context: CommandContext, request: RequestContext, buddy_uuid: str, name: str | None, detail: str | None
) -> Outcome:
    """Put a user on the caller's list."""
    if buddy_uuid == request.actor:
        raise Invalid("uuid_user: a user cannot be a buddy of themselves")

    async def decision(connection: asyncpg.Connection) -> Decision:
        await require_users(connection, [request.actor, buddy_uuid])
        if await connection.fetchval(BUDDY, request.actor, buddy_uuid) is not None:
            raise Conflict(f"{buddy_uuid} is a buddy already")
        return Decision([BuddyAdded(str(uuid.uuid4()), request.actor, buddy_uuid, name, detail)])

    return await decide(context, request, ("buddies", "users"), decision)
