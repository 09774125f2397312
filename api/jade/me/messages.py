"""/me/chats/<detail>/messages: the messages in a chat's room, newest first (seed 001:4179-4233)."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.http.body import read_body
from api.http.idempotency import command_args
from api.http.query import QueryParams
from api.http.views.view import Args, View, storable_text
from api.jade import envelope
from api.jade.me.args import own_detail
from api.jade.writes import write_response
from services.commands.messages import post_message
from services.log.times import TICK, parse_rfc3339
from services.runtime.errors import Invalid

DEFAULT_COUNT, MAX_COUNT = 50, 200
TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)

# A chat without messages is one row without a message; a chat that is not the caller's is no row.
MESSAGES = """
SELECT m.uuid, m.uuid_owner, m.posted, m.message
FROM chats c
LEFT JOIN LATERAL (
    SELECT uuid, uuid_owner, posted, message FROM messages
    WHERE pbx = c.pbx AND room_uuid = c.room_uuid AND posted < coalesce($3::timestamptz, 'infinity')
    ORDER BY posted DESC LIMIT $4::bigint
) m ON true
WHERE c.pbx = '' AND c.user_uuid = $1::text AND c.uuid = $2::text
ORDER BY m.posted DESC
"""


class PostBody(Struct):
    """Body of a POST. The seed's {"test message"} is not JSON; the list shows the member's name."""

    message: str


def page(request: web.Request) -> Args:
    """Return the arguments of ``count`` messages that are older than ``timestamp``, or of the newest ones."""
    params = QueryParams(request, is_strict=False)
    count, timestamp = params.number("count", DEFAULT_COUNT, MAX_COUNT), params.text("timestamp")
    return (*own_detail(request), None if timestamp is None else _time(timestamp), count)


def _time(text: str) -> datetime:
    """Return the time. Messages have microseconds, so nanoseconds are rounded up: the same ones are older."""
    match = TIMESTAMP.fullmatch(text)
    try:
        if match:
            nanoseconds = int((match[2] or "").ljust(9, "0"))
            return parse_rfc3339(f"{match[1]}Z") + -(-nanoseconds // 1000) * TICK
    except (ValueError, OverflowError):
        pass  # No such day.
    raise Invalid("timestamp: UTC as 2018-03-30T08:30:02.364443Z")


def messages(rows: Sequence[asyncpg.Record], _now: datetime) -> list[dict[str, Any]] | None:
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
    text = (await read_body(request, PostBody)).message
    chat_uuid = storable_text(request.match_info["detail"])
    return write_response(await post_message(*await command_args(request), chat_uuid, text))


LIST = View("messages.list", ("chats", "messages"), MESSAGES, page, messages, envelope.RENDERER, pbx=None)
