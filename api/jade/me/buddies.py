"""/me/buddies: the users on the asker's list (seed 001:3966-4010)."""

import uuid
from collections.abc import Sequence
from typing import Any

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.http.auth import USER
from api.http.body import Line, Uuid, read_body
from api.http.errors import ApiError
from api.http.views import View
from api.jade import envelope
from api.jade.me.routes import known, mine
from api.jade.writes import answer
from schemas.social import BuddyAdded
from services.commands.decide import Decision, decide

BUDDIES = """
SELECT uuid, uuid_user, name, detail, tm_create, nullif(tm_update, tm_create) AS tm_update
FROM buddies
WHERE pbx = coalesce($1::text, '') AND user_uuid = $2::text
ORDER BY tm_create, uuid
"""

BUDDY = "SELECT uuid FROM buddies WHERE pbx = '' AND user_uuid = $1 AND uuid_user = $2"


class NewBuddy(Struct):
    """The body of the POST; only ``uuid_user`` is documented, the other two are shown by the list."""

    uuid_user: Uuid
    name: Line | None = None
    detail: Line | None = None


def buddies(rows: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]


async def create(request: web.Request) -> web.Response:
    """Put a user on the asker's list: 400 for oneself, 404 for who is no user, 409 for who is on it."""
    wanted = await read_body(request, NewBuddy)
    user, buddy = request[USER].uuid, wanted.uuid_user.lower()
    if buddy == user:
        raise ApiError(400, "uuid_user: nobody is a buddy of their own")

    async def decision(connection: asyncpg.Connection) -> Decision:
        await known(connection, [user, buddy])
        if await connection.fetchval(BUDDY, user, buddy) is not None:
            raise ApiError(409, f"{buddy} is a buddy already")
        return Decision([BuddyAdded(str(uuid.uuid4()), user, buddy, wanted.name, wanted.detail)])

    return answer(await decide(request, ("buddies", "users"), decision))


LIST = View("buddies.list", ("buddies",), BUDDIES, mine, buddies, envelope.ENVELOPE)
