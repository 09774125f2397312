"""What the paths below /me share: their views are about the user who asks, and nobody else sees them."""

from collections.abc import Sequence

import asyncpg
from aiohttp import web

from api.http.auth import USER
from api.http.errors import ApiError
from api.http.views import Args, storable_text

STRANGER = """
SELECT asked FROM unnest($1::text[]) AS asked
WHERE NOT EXISTS (SELECT FROM users WHERE pbx = '' AND uuid = asked)
LIMIT 1
"""


def mine(request: web.Request) -> Args:
    """Ask for all that is the asker's. What belongs to users belongs to no PBX, so ``?pbx=`` narrows nothing."""
    return (None, request[USER].uuid)


def one_of_mine(request: web.Request) -> Args:
    """Ask for what the end of the path names, if it is the asker's."""
    return (*mine(request), storable_text(request.match_info["detail"]))


async def known(connection: asyncpg.Connection, users: Sequence[str]) -> None:
    """Raise ApiError 404 if one of these uuids is no user's. The asker's own, too: it may just have been deleted."""
    stranger = await connection.fetchval(STRANGER, users)
    if stranger is not None:
        raise ApiError(404, f"no such user: {stranger}")
