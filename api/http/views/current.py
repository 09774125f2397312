"""Views of the present. Their bytes are cached while the rows of their read models stay the same."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncpg
from aiohttp import web
from cachetools import LRUCache
from msgspec import Struct

from api.http.errors import ApiError
from api.http.views.cache import byte_cache
from api.http.views.etags import entity_tags, is_ahead
from api.http.views.flights import Flights
from api.http.views.rendering import Pieces, Renderer, render, size
from api.http.views.view import AsOfRenderer, Query, QueryKey, Rendered, View, query_of, respond
from services.database.connection import snapshot
from services.database.pool import Pool
from services.projector.checkpoints.checkpoints import VERSIONS, CheckpointReading, UnreadyError, in_timeline, read
from services.projector.checkpoints.watcher import CheckpointWatcher

MAX_WAIT_SECONDS = 60.0
TICK_SECONDS = 1.0
CACHE_BYTES = 32 << 20
MAX_ATTEMPTS = 4
RETRYABLE_ERRORS = (asyncpg.InvalidCachedStatementError, asyncpg.TransactionRollbackError)
"""A prepared statement met a table whose columns are of other types than before, or a replica had to swap tables."""

T = TypeVar("T")


class CachedBody(Struct, frozen=True):
    """An encoded result (None: not found) with its tag and the reading of its transaction."""

    body: Pieces | None
    tag: str
    reading: CheckpointReading


class CurrentViews:
    """Serves views as they are now."""

    def __init__(self, pool: Pool, checkpoints: CheckpointWatcher, render_as_of: AsOfRenderer) -> None:
        self._pool = pool
        self._checkpoints = checkpoints
        self._render_as_of = render_as_of
        self._cache: LRUCache[QueryKey, CachedBody] = byte_cache(CACHE_BYTES, lambda cached: size(cached.body or ()))
        self._rendering = Flights[QueryKey, CachedBody]()

    async def serve(self, view: View, request: web.Request, user: str) -> web.Response:
        """Respond to a GET: from the cache if no row has changed, 304 if the client has the bytes, later if it waits.

        ``user`` is the uuid of the user, in whose turn ``as_of`` is folded.
        """
        params = request.query
        query = await query_of(view, request)
        tags = entity_tags(request, "If-None-Match")
        if "as_of" in params:
            if "wait" in params:
                raise ApiError(400, "wait and as_of exclude each other: the past does not change")
            return respond(view.renderer, await self._render_as_of(query, params["as_of"], user), tags)
        if "wait" in params:
            await self._wait_changed(view, tags, _seconds(params["wait"]))
        cached, needed = await self._current(query)
        # The bytes hold for a later reading too when no row has changed since.
        reading = cached.reading
        for later in (needed, self._checkpoints.reading):
            if later.is_after(reading) and later.tag(view.models) == cached.tag:
                reading = later
        headers = self._headers(view.models, reading, query.pbx)
        return respond(view.renderer, Rendered(cached.body, cached.tag, headers), tags)

    async def serve_uncached(
        self,
        request: web.Request,
        models: Sequence[str],
        ask: Callable[[asyncpg.Connection], Awaitable[Any]],
        renderer: Renderer,
    ) -> web.StreamResponse:
        """Respond to a GET with the result that ``ask`` makes of these models (None: not found)."""
        reading, result = await self._read(models, ask)
        self._checkpoints.observe(reading)
        body = None if result is None else (renderer.encode(result),)
        rendered = Rendered(body, reading.tag(models), self._headers(models, reading, None))
        return respond(renderer, rendered, entity_tags(request, "If-None-Match"))

    async def _wait_changed(self, view: View, tags: set[str] | None, seconds: float) -> None:
        now = self._checkpoints.reading.tag(view.models)
        if tags and is_ahead(tags, now):
            # Another process has already served a later state than this one has read.
            await self._checkpoints.refresh()
            now = self._checkpoints.reading.tag(view.models)
        if tags is None or tags & {now, "*"}:
            await self._checkpoints.wait_changed(view.models, now, seconds)

    async def _current(self, query: Query) -> tuple[CachedBody, CheckpointReading]:
        """Return what holds for the newest reading of this moment, and that reading."""
        key = query.key
        needed, begin = self._checkpoints.reading, asyncio.get_running_loop().time()
        cached = self._cache.get(key)
        while cached is None or not (cached.reading.began >= begin or _is_fresh(query.view, cached, needed)):
            # A rendering under way began earlier and may be too old; the next one cannot be, however long it takes.
            cached = await self._rendering.join(key, lambda: self._render(query))
        return cached, needed

    async def _render(self, query: Query) -> CachedBody:
        view = query.view
        reading, now, rows = await self._look(query)
        self._checkpoints.observe(reading)
        with _of_its_version(view.models, reading):
            body = await render(rows, now, view.wire, view.renderer)
        cached = CachedBody(body, reading.tag(view.models), reading)
        if body is not None:
            self._cache[query.key] = cached
        return cached

    async def _look(self, query: Query) -> tuple[CheckpointReading, datetime, list[asyncpg.Record]]:
        """Return the rows, the reading of their transaction, and its time."""

        async def ask(connection: asyncpg.Connection) -> tuple[datetime, list[asyncpg.Record]]:
            now = datetime.now(UTC)
            return now, await connection.fetch(query.view.sql, *query.parameters(now))

        reading, (now, rows) = await self._read(query.view.models, ask)
        return reading, now, rows

    async def _read(
        self, models: Sequence[str], ask: Callable[[asyncpg.Connection], Awaitable[T]]
    ) -> tuple[CheckpointReading, T]:
        attempt = 1
        while True:
            try:
                async with self._pool.acquire() as connection, snapshot(connection):
                    newest = self._checkpoints.newest
                    reading = await in_timeline(connection, await read(connection), newest)
                    reading.tag(models)  # raises when one has no table yet
                    with _of_its_version(models, reading):
                        return reading, await ask(connection)
            except RETRYABLE_ERRORS as error:
                if attempt == MAX_ATTEMPTS:
                    raise UnreadyError("the tables are being swapped") from error
                attempt += 1

    def _headers(self, models: Sequence[str], reading: CheckpointReading, pbx: str | None) -> dict[str, str]:
        return {
            "X-Ledger-Position": str(reading.position(models)),
            "X-Ledger-Lag-Ms": str(self._checkpoints.lag_ms(models, reading)),
            "X-Ledger-Complete": "true" if reading.is_complete(pbx) else "false",
        }


def _is_fresh(view: View, cached: CachedBody, needed: CheckpointReading) -> bool:
    if view.ticks and asyncio.get_running_loop().time() - cached.reading.began > TICK_SECONDS:
        return False
    return not needed.is_after(cached.reading) or needed.tag(view.models) == cached.tag


@contextlib.contextmanager
def _of_its_version(models: Sequence[str], reading: CheckpointReading) -> Iterator[None]:
    """Attribute an error to a model that is served in another version than this program's SQL and wire are for."""
    try:
        yield
    except RETRYABLE_ERRORS:
        raise
    except Exception as error:
        for name in models:
            if reading.models[name].version != VERSIONS[name]:
                raise UnreadyError(f"read model {name} is still served in another version") from error
        raise


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= MAX_WAIT_SECONDS:
        raise ApiError(400, f"wait: seconds from 0 to {MAX_WAIT_SECONDS:.0f}")
    return seconds
