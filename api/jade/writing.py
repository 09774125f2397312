"""What jade's writes share: their routes, how they find what they are about, and the bare envelope they answer."""

from urllib.parse import quote

import asyncpg
import msgspec
from aiohttp import web

from api.auth import needs
from api.deciding import Decided
from api.errors import ApiError, Handler
from api.jade import envelope
from api.keys import POOL
from api.views import Args


def answer(decided: Decided) -> web.Response:
    """Answer a write: the envelope, with a result only where one is documented."""
    result = msgspec.json.encode(decided.result) if decided.result else None
    return web.Response(
        body=envelope.success(result), content_type="application/json", charset="utf-8", headers=decided.headers
    )


def writes(method: str, path: str, handler: Handler, permission: str = "admin") -> list[web.RouteDef]:
    """Routes of a write with and without /v1; ``path`` begins with /admin, /manager or /me."""
    guarded = needs(permission, handler)
    return [web.route(method, start + path.replace("{detail}", "{detail:[^/]+}"), guarded) for start in ("/v1", "")]


async def found(request: web.Request, sql: str, args: Args) -> asyncpg.Record:
    """Return the first row of what the request is about. Raises ApiError 404."""
    row = await request.app[POOL].fetchrow(sql, *args)
    if row is None:
        raise ApiError(404, "no such thing")
    return row


def where(request: web.Request, path: str, detail: str) -> str:
    """Return the path of something that has been created, in the form that the request has."""
    start = "/v1" if request.path.startswith("/v1/") else ""
    return f"{start}{path}/{quote(detail, safe='')}"
