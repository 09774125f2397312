"""Chats: open, rename, leave. A chat is one member's view of a room.

Two users have at most one one-to-one room. To open it again is a conflict while both are members; a former member
joins the room again, with all its messages.
"""

import uuid
from collections.abc import Iterable, Sequence

import asyncpg

from schemas.social import SINGLE, ChatChanged, ChatLeft, Kind, Members, RoomJoined, RoomOpened
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Decision, Outcome, decide
from services.commands.users import require_users
from services.runtime.errors import Conflict, Invalid, NotFound

MODELS = ("chats", "rooms")
CHAT = "SELECT room_uuid, name, detail FROM chats WHERE pbx = '' AND user_uuid = $1 AND uuid = $2"

# The room of two users that has at least one of them as a member, and the caller's ($2) chat there, if any.
SINGLE_ROOM = """
SELECT r.uuid, r.members, (
    SELECT uuid FROM chats WHERE pbx = '' AND user_uuid = $2 AND room_uuid = r.uuid
) AS chat
FROM chats c
JOIN rooms r ON r.pbx = c.pbx AND r.uuid = c.room_uuid
WHERE c.pbx = '' AND c.user_uuid = ANY($1::text[]) AND r.kind = 1 AND r.opened_for @> to_jsonb($1::text[])
ORDER BY r.tm_create
LIMIT 1
"""


async def open_chat(
    context: CommandContext,
    request: RequestContext,
    kind: Kind,
    members: Sequence[str],
    *,
    name: str,
    detail: str,
    collection: str,
) -> Outcome:
    """Open a room for the caller and ``members``, or join their one-to-one room again.

    The caller's chat is located below the path ``collection``.
    """
    user = request.actor
    users = list(dict.fromkeys([user, *members]))
    if kind == SINGLE and len(users) != 2:
        raise Invalid("members: a chat of type 1 is with one other user")

    async def decision(connection: asyncpg.Connection) -> Decision:
        await require_users(connection, users)
        room = await connection.fetchrow(SINGLE_ROOM, users, user) if kind == SINGLE else None
        if room is None:
            chats = _new_chats(users)
            opened = RoomOpened(str(uuid.uuid4()), kind, user, chats, name, detail)
            return Decision([opened], location=f"{collection}/{chats[0][1]}")
        joining = _new_chats(member for member in users if member not in room["members"])
        location = f"{collection}/{dict(joining).get(user) or room['chat']}"
        if not joining:
            raise Conflict("there is a chat of type 1 with this user", location=location)
        return Decision([RoomJoined(room["uuid"], joining, name, detail)], location=location)

    return await decide(context, request, (*MODELS, "users"), decision)


def _new_chats(users: Iterable[str]) -> Members:
    return tuple((user, str(uuid.uuid4())) for user in users)


async def rename_chat(
    context: CommandContext, request: RequestContext, chat_uuid: str, *, name: str | None, detail: str | None
) -> Outcome:
    """Rename the caller's chat; None leaves a value. The other members' chats keep their names."""
    if name is None and detail is None:
        raise Invalid("name or detail is needed")

    async def decision(connection: asyncpg.Connection) -> Decision:
        row = await require_chat(connection, request.actor, chat_uuid)
        new = (row["name"] if name is None else name, row["detail"] if detail is None else detail)
        if new == (row["name"], row["detail"]):
            return Decision([])
        return Decision([ChatChanged(chat_uuid, request.actor, *new)])

    return await decide(context, request, ("chats",), decision)


async def leave_chat(context: CommandContext, request: RequestContext, chat_uuid: str) -> Outcome:
    """Leave the room of the caller's chat; the room ends with its last member."""

    async def decision(connection: asyncpg.Connection) -> Decision:
        row = await require_chat(connection, request.actor, chat_uuid)
        return Decision([ChatLeft(chat_uuid, request.actor, row["room_uuid"])])

    return await decide(context, request, MODELS, decision)


async def require_chat(connection: asyncpg.Connection, user_uuid: str, chat_uuid: str) -> asyncpg.Record:
    """Return the user's chat. Raises NotFound, also for another user's chat."""
    row = await connection.fetchrow(CHAT, user_uuid, chat_uuid)
    if row is None:
        raise NotFound(f"not found: chat {chat_uuid}")
    return row
