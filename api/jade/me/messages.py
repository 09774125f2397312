"""/me/chats/<detail>/messages: what is written in a chat's room, newest first (seed 001:4179-4233)."""

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.http.auth import USER
from api.http.body import read_body
from api.http.errors import ApiError
from api.http.views import Args, View
from api.jade import envelope
from api.jade.me.chats import chat_of
from api.jade.me.routes import one_of_mine
from api.jade.writes import answer
from schemas.social import MessagePosted
from services.commands.decide import Decision, decide

COUNT, MOST = 50, 200
MOST_BYTES = 64 * 1024
"""Of one message in UTF-8."""
TICK = timedelta(microseconds=1)
TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)

# A chat without messages is one row without a message; what is not the asker's chat is none.
MESSAGES = """
SELECT m.uuid, m.uuid_owner, m.posted, m.message
FROM chats c
LEFT JOIN LATERAL (
    SELECT uuid, uuid_owner, posted, message FROM messages
    WHERE pbx = c.pbx AND room_uuid = c.room_uuid AND posted < coalesce($4::timestamptz, 'infinity')
    ORDER BY posted DESC LIMIT $5::bigint
) m ON true
WHERE c.pbx = coalesce($1::text, '') AND c.user_uuid = $2::text AND c.uuid = $3::text
ORDER BY m.posted DESC
"""

LAST = "SELECT max(posted) FROM messages WHERE pbx = '' AND room_uuid = $1"


class NewMessage(Struct):
    """The body of the POST. The seed's {"test message"} is no JSON; the list shows the member's name."""

    message: str


def page(request: web.Request) -> Args:
    """Ask for ``count`` messages that are older than ``timestamp``, or for the newest ones."""
    count, timestamp = request.query.get("count", str(COUNT)), request.query.get("timestamp")
    if not re.fullmatch(r"[0-9]{1,9}", count) or not 1 <= int(count) <= MOST:
        raise ApiError(400, f"count: 1 to {MOST}")
    return (*one_of_mine(request), None if timestamp is None else _time(timestamp), int(count))


def _time(text: str) -> datetime:
    """Return the time. Messages have microseconds, so nanoseconds are rounded up: the same ones are older."""
    found = TIMESTAMP.fullmatch(text)
    try:
        if found:
            nanoseconds = int((found[2] or "").ljust(9, "0"))
            return datetime.fromisoformat(found[1]).replace(tzinfo=UTC) + -(-nanoseconds // 1000) * TICK
    except (ValueError, OverflowError):
        pass  # no such day
    raise ApiError(400, "timestamp: UTC as 2018-03-30T08:30:02.364443Z")


def messages(rows: Sequence[asyncpg.Record]) -> list[dict[str, Any]] | None:
    if not rows:
        return None
    return [
        {
            "uuid": row["uuid"],
            "uuid_owner": row["uuid_owner"],
            "tm_create": row["posted"],
            "message": {"message": row["message"]},
        }
        for row in rows
        if row["uuid"] is not None
    ]


async def create(request: web.Request) -> web.Response:
    """Write a message; 400 if it is empty or too long."""
    text = (await read_body(request, NewMessage)).message
    if not text or len(text.encode()) > MOST_BYTES:
        raise ApiError(400, f"message: 1 to {MOST_BYTES:,} bytes of UTF-8")

    async def decision(connection: asyncpg.Connection) -> Decision:
        room = (await chat_of(connection, request))["room_uuid"]
        last = await connection.fetchval(LAST, room)
        # Each later than all before it, whatever the clock says: a page ends at a time, so no two may share one.
        now = datetime.now(UTC)
        posted = now if last is None else max(now, last + TICK)
        return Decision([MessagePosted(str(uuid.uuid4()), room, request[USER].uuid, posted, text)])

    return answer(await decide(request, ("chats", "messages"), decision))


LIST = View("messages.list", ("chats", "messages"), MESSAGES, page, messages, envelope.ENVELOPE)
