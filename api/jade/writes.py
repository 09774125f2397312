"""What jade's writes share: their routes, how they find what they are about, and the bare envelope they answer."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from urllib.parse import quote

import asyncpg
import msgspec
from aiohttp import web

from api.app_keys import FRESHNESS, POOL
from api.http.errors import ApiError, Handler
from api.http.views import Args
from api.jade import envelope
from api.jade.resource import detail
from services.commands.act import replayed, sendable
from services.commands.decide import Decided
from services.database.connection import UNREACHABLE

SEEN_SECONDS = 1.0


def answer(decided: Decided) -> web.Response:
    """Answer a write: the envelope, with a result only where one is documented."""
    result = msgspec.json.encode(decided.result) if decided.result else None
    return web.Response(
        body=envelope.success(result), content_type="application/json", charset="utf-8", headers=decided.headers
    )


def once(handler: Handler) -> Handler:
    """Return the handler of an act that looks up its target.

    A repeated request returns the outcome of the first one, even if the target no longer exists.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        earlier = await replayed(request)
        return await handler(request) if earlier is None else answer(earlier)

    return handle


def named(request: web.Request) -> Args:
    """Ask for what the end of the path names, at ``?pbx=`` if given. Raises ApiError 400 for CR, LF or NUL in it."""
    sendable(request.match_info["detail"])
    return detail(request)


async def only(request: web.Request, sql: str, args: Args, by: str = "pbx=") -> asyncpg.Record:
    """Return the one row of what an act is about. Raises ApiError 404, or 400 where ``by`` must tell which it is."""
    rows = await request.app[POOL].fetch(sql, *args)
    if not rows:
        raise ApiError(404, "no such thing")
    if len(rows) > 1:
        raise ApiError(400, f"{by} is needed: several are called so")
    return rows[0]


async def seen(
    request: web.Request, model: str, sql: str, args: Args, true: Callable[[Sequence[asyncpg.Record]], bool]
) -> None:
    """Wait until these rows of a model show what an act has done, no longer than a moment.

    The listener hears of it over another link than the one that it was done by, and perhaps later; a client that
    looks after its act should find it done. It is done in any case: nothing is raised.
    """
    freshness = request.app[FRESHNESS]
    with contextlib.suppress(TimeoutError, *UNREACHABLE):
        async with asyncio.timeout(SEEN_SECONDS):
            while not freshness.stopping:
                tag = freshness.reading.tag((model,))
                if true(await request.app[POOL].fetch(sql, *args)):
                    await freshness.refresh()  # views keep their bytes until then
                    return
                await freshness.differs((model,), tag, SEEN_SECONDS)


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
