"""/me/buddies: the users on the caller's list (seed 001:3966-4010)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.http.body import Line, Uuid, read_body
from api.http.idempotency import command_args
from api.http.views.view import View
from api.jade import envelope
from api.jade.me.args import own_list
from api.jade.writes import write_response
from services.commands.buddies import add_buddy

BUDDIES = """
SELECT uuid, uuid_user, name, detail, tm_create, nullif(tm_update, tm_create) AS tm_update
FROM buddies
WHERE pbx = '' AND user_uuid = $1::text
ORDER BY tm_create, uuid
"""


class PostBody(Struct):
    """Body of a POST; the seed documents only ``uuid_user``, and shows the other two in the list."""

    uuid_user: Uuid
    name: Line | None = None
    detail: Line | None = None


def buddies(rows: Sequence[asyncpg.Record], _now: datetime) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]


async def create(request: web.Request) -> web.Response:
    body = await read_body(request, PostBody)
    buddy_uuid = body.uuid_user.lower()
    return write_response(await add_buddy(*await command_args(request), buddy_uuid, body.name, body.detail))


LIST = View("buddies.list", ("buddies",), BUDDIES, own_list, buddies, envelope.RENDERER, pbx=None)
