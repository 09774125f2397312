"""Views: one SQL text and one function from rows to wire; their bytes are kept while the rows stay the same."""

import asyncio
import contextlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncpg
import msgspec
from aiohttp import web
from msgspec import Struct

from api.http.errors import ApiError
from api.http.etags import entity_tags
from api.http.flights import Flights
from api.http.rendering import EnvelopePayload, Pieces, Wire, render, size
from services.database import connection as database
from services.database.pool import Pool
from services.projector.checkpoints import VERSIONS, Freshness, Reading, UnreadyError, placed, read

MAX_WAIT_SECONDS = 60.0
TICK_SECONDS = 1.0
CACHE_BYTES = 32 << 20
MAX_ATTEMPTS = 4
RETRYABLE_ERRORS = (asyncpg.InvalidCachedStatementError, asyncpg.TransactionRollbackError)
"""A prepared statement met a table whose columns are of other types than before, or a replica had to swap tables."""

Args = tuple[Any, ...]
T = TypeVar("T")


def pbx_filter(request: web.Request) -> str | None:
    """Return the PBX that ``?pbx=`` narrows a view to, None for all."""
    name = request.query.get("pbx")
    return name if name is None else storable_text(name)


def storable_text(text: str) -> str:
    """Return the text if PostgreSQL can hold it. Raises ApiError 404: what it cannot hold is not there."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ApiError(404, "no such thing")
    return text


class Envelope(Struct, frozen=True):
    """What stands before a result, made for every answer, and after it."""

    opening: Callable[[], bytes]
    closing: bytes


class View(Struct, frozen=True):
    """What is served at a path.

    ``sql`` takes what ``args`` makes of the request, in order; the first is always the PBX (or None for all). Views
    that ``tick`` hold durations that grow by themselves: their SQL takes the time as one more, and their bytes last
    one second. ``models`` are all tables that the SQL reads.
    """

    name: str
    models: tuple[str, ...]
    sql: str
    args: Callable[[web.Request], Args | Awaitable[Args]]
    wire: Wire
    envelope: Envelope
    ticks: bool = False


class CachedBody(Struct, frozen=True):
    """The bytes of a result and what closes its envelope (None: there is none), and the facts of its transaction."""

    body: Pieces | None
    tag: str
    reading: Reading


class Rendered(Struct, frozen=True):
    """A result as bytes (None: there is none), its tag, and the headers that say where in the log it stands."""

    body: Pieces | None
    tag: str
    headers: dict[str, str]


AsOfRenderer = Callable[[View, Args, str, str], Awaitable[Rendered]]
"""Answers ``as_of``: its text and the user who asks are the last arguments."""


class Views:
    """Answers requests for views."""

    def __init__(self, pool: Pool, freshness: Freshness, past: AsOfRenderer) -> None:
        self._pool = pool
        self._freshness = freshness
        self._past = past
        self._kept: OrderedDict[tuple[str, Args], CachedBody] = OrderedDict()
        self._bytes = 0
        self._rendering = Flights[tuple[str, Args], CachedBody]()

    async def answer(self, view: View, request: web.Request, user: str) -> web.Response:
        """Answer a GET: from memory if the rows have not changed, 304 if the client has them, later if it waits."""
        query = request.query
        args = view.args(request)
        if not isinstance(args, tuple):
            args = await args
        known = entity_tags(request, "If-None-Match")
        if "as_of" in query:
            if "wait" in query:
                raise ApiError(400, "wait is for what may change, as_of for what has been")
            return _answer(view.envelope, await self._past(view, args, query["as_of"], user), known)
        if "wait" in query:
            seconds = _seconds(query["wait"])
            now = self._freshness.reading.tag(view.models)
            if known and _ahead(known, now):
                # The client was told more by another process than this one knows yet.
                await self._freshness.refresh()
                now = self._freshness.reading.tag(view.models)
            if known is None or known & {now, "*"}:
                await self._freshness.differs(view.models, now, seconds)
        kept, needed = await self._current(view, args)
        # The bytes hold for a later reading too when no row has changed since.
        reading = kept.reading
        for later in (needed, self._freshness.reading):
            if later.after(reading) and later.tag(view.models) == kept.tag:
                reading = later
        headers = self._headers(view.models, reading, args[0])
        return _answer(view.envelope, Rendered(kept.body, kept.tag, headers), known)

    async def once(
        self,
        request: web.Request,
        models: Sequence[str],
        ask: Callable[[asyncpg.Connection], Awaitable[Any]],
        envelope: Envelope,
    ) -> web.StreamResponse:
        """Answer a GET with what ``ask`` makes of these models (None: there is no such thing); nothing is kept."""
        reading, result = await self._asked(models, ask)
        self._freshness.seen(reading)
        body = None if result is None else (msgspec.json.encode(result) + envelope.closing,)
        told = Rendered(body, reading.tag(models), self._headers(models, reading, None))
        return _answer(envelope, told, entity_tags(request, "If-None-Match"))

    async def _current(self, view: View, args: Args) -> tuple[CachedBody, Reading]:
        """Return what holds for the newest reading of this moment, and that reading."""
        key = (view.name, args)
        needed, asked = self._freshness.reading, asyncio.get_running_loop().time()
        kept = self._kept.get(key)
        while kept is None or not (kept.reading.began >= asked or _good(view, kept, needed)):
            # A rendering under way began earlier and may be too old; the next one cannot be, however long it takes.
            kept = await self._rendering.join(key, lambda: self._render(view, args))
        if key in self._kept:
            self._kept.move_to_end(key)
        return kept, needed

    async def _render(self, view: View, args: Args) -> CachedBody:
        reading, rows = await self._look(view, args)
        self._freshness.seen(reading)
        with _of_its_version(view.models, reading):
            body = await render(rows, view.wire, view.envelope.closing)
        kept = CachedBody(body, reading.tag(view.models), reading)
        if body is not None:
            self._keep((view.name, args), kept)
        return kept

    async def _look(self, view: View, args: Args) -> tuple[Reading, list[asyncpg.Record]]:
        async def ask(connection: asyncpg.Connection) -> list[asyncpg.Record]:
            now = (datetime.now(UTC),) if view.ticks else ()
            rows: list[asyncpg.Record] = await connection.fetch(view.sql, *args, *now)
            return rows

        return await self._asked(view.models, ask)

    async def _asked(
        self, models: Sequence[str], ask: Callable[[asyncpg.Connection], Awaitable[T]]
    ) -> tuple[Reading, T]:
        attempt = 1
        while True:
            try:
                async with self._pool.acquire() as connection, database.snapshot(connection):
                    known = self._freshness.newest
                    reading = await placed(connection, await read(connection), known)
                    reading.tag(models)  # raises when one has no table yet
                    with _of_its_version(models, reading):
                        return reading, await ask(connection)
            except RETRYABLE_ERRORS as error:
                if attempt == MAX_ATTEMPTS:
                    raise UnreadyError("the tables are being swapped") from error
                attempt += 1

    def _headers(self, models: Sequence[str], reading: Reading, pbx: str | None) -> dict[str, str]:
        return {
            "X-Ledger-Position": str(reading.position(models)),
            "X-Ledger-Lag-Ms": str(self._freshness.lag_ms(models, reading)),
            "X-Ledger-Complete": "true" if reading.complete(pbx) else "false",
        }

    def _keep(self, key: tuple[str, Args], kept: CachedBody) -> None:
        before = self._kept.pop(key, None)
        self._bytes -= size(before.body or ()) if before else 0
        self._kept[key] = kept
        self._bytes += size(kept.body or ())
        while self._bytes > CACHE_BYTES and len(self._kept) > 1:
            self._bytes -= size(self._kept.popitem(last=False)[1].body or ())


def _answer(envelope: Envelope, told: Rendered, known: set[str] | None) -> web.Response:
    if told.body is None:
        raise ApiError(404, "no such thing", "empty-data", told.headers)
    headers = {**told.headers, "ETag": f'W/"{told.tag}"', "Cache-Control": "private, no-cache"}
    if known is not None and known & {told.tag, "*"}:
        return web.Response(status=304, headers=headers)
    opening = envelope.opening()
    headers["Content-Type"] = "application/json; charset=utf-8"
    parts = (opening, *told.body)
    headers["Content-Length"] = str(size(parts))
    return web.Response(body=EnvelopePayload(parts), headers=headers)


def _good(view: View, kept: CachedBody, needed: Reading) -> bool:
    if view.ticks and asyncio.get_running_loop().time() - kept.reading.began > TICK_SECONDS:
        return False
    return not needed.after(kept.reading) or needed.tag(view.models) == kept.tag


@contextlib.contextmanager
def _of_its_version(models: Sequence[str], reading: Reading) -> Iterator[None]:
    """Blame what goes wrong on a model that is served in another version than our SQL and wire are for."""
    try:
        yield
    except RETRYABLE_ERRORS:
        raise
    except Exception as error:
        for name in models:
            if reading.models[name].version != VERSIONS[name]:
                raise UnreadyError(f"read model {name} is served in another version as yet") from error
        raise


def _ahead(known: set[str], now: str) -> bool:
    # Without the marks, which are no counts.
    theirs, ours = (
        [int(n) for n in re.findall(r"[0-9]{1,18}", tag.rpartition("-")[0])] for tag in (max(known, key=len), now)
    )
    return len(theirs) == len(ours) and any(a > b for a, b in zip(theirs, ours, strict=True))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= MAX_WAIT_SECONDS:
        raise ApiError(400, f"wait: seconds from 0 to {MAX_WAIT_SECONDS:.0f}")
    return seconds
