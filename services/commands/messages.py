"""Messages in the room of a chat."""

import uuid
from datetime import UTC, datetime

import asyncpg

from schemas.social import MessagePosted
from services.commands.chats import require_chat
from services.commands.context import CommandContext, RequestContext
from services.commands.decide import Decision, Outcome, decide
from services.log.times import TICK
from services.runtime.errors import Invalid

MAX_BYTES = 64 * 1024
"""The size of one message in UTF-8."""
LAST_POSTED = "SELECT max(posted) FROM messages WHERE pbx = '' AND room_uuid = $1"


async def post_message(context: CommandContext, request: RequestContext, chat_uuid: str, text: str) -> Outcome:
    """Post a message to the room of the caller's chat. Raises Invalid for an empty or too long text."""
    if not text or len(text.encode()) > MAX_BYTES:
        raise Invalid(f"message: 1 to {MAX_BYTES:,} bytes of UTF-8")

    async def decision(connection: asyncpg.Connection) -> Decision:
        room = (await require_chat(connection, request.actor, chat_uuid))["room_uuid"]
        last = await connection.fetchval(LAST_POSTED, room)
        # Later than all earlier messages, whatever the clock shows: a page ends at a time, so no two may share one.
        now = datetime.now(UTC)
        posted = now if last is None else max(now, last + TICK)
        return Decision([MessagePosted(str(uuid.uuid4()), room, request.actor, posted, text)])

    return await decide(context, request, ("chats", "messages"), decision)
