"""GET /v1/ledger/events: the log, filtered, in pages in either order, as JSON or as a stream of lines."""

from typing import Any

import msgspec
import structlog
from aiohttp import web

from api.app_keys import HEARTBEAT, POOL
from api.http.auth import requester_uuid, require_permission
from api.http.query import QueryParams
from api.http.queues import QUEUES
from api.ledger import wire
from api.ledger.search import Search, SearchFilter
from api.ledger.value_match import CHANNEL, LINKED_ID, UNIQUE_ID, ValueMatch
from services.database.errors import UNREACHABLE

LIMIT = 100
MAX_LIMIT = 10_000
SOURCES = ("ami", "ari", "ringledger", "cdr_csv", "cel_csv", "queue_log")
PARAMETERS = (
    *("pbx", "name", "source", "channel", "uniqueid", "linkedid", "from", "to", "after", "before"),
    *("order", "cursor", "limit", "format"),
)
NDJSON = "application/x-ndjson"

logger = structlog.get_logger()


def search_filter(params: QueryParams) -> SearchFilter:
    """Return the filter of a request. A cursor excludes the earlier pages."""
    descending = params.word("order", "asc", "desc") == "desc"
    cursor = params.position("cursor")
    after, before = params.position("after") or 0, params.position("before")
    if cursor is not None and descending:
        before = cursor if before is None else min(before, cursor)
    elif cursor is not None:
        after = max(after, cursor)
    kinds = (("uniqueid", UNIQUE_ID), ("linkedid", LINKED_ID), ("channel", CHANNEL))
    values = [(kind, params.utf8(name)) for name, kind in kinds]
    return SearchFilter(
        pbx=params.text("pbx"),
        source=params.word("source", *SOURCES),
        names=params.texts("name"),
        since=params.time("from"),
        until=params.time("to"),
        after=after,
        before=before,
        values=tuple(ValueMatch(kind, frozenset({value})) for kind, value in values if value is not None),
        descending=descending,
    )


async def events(request: web.Request) -> web.StreamResponse:
    params = QueryParams(request, *PARAMETERS)
    form = params.word("format", "json", "ndjson")
    queue, user = request.app[QUEUES].search, requester_uuid(request)
    search = Search(request.app[POOL], search_filter(params), lambda: queue.turn(user))
    with queue.reserve(user):
        if form == "ndjson" or (form is None and NDJSON in request.headers.get("Accept", "")):
            bound = params.number("limit", MAX_LIMIT, MAX_LIMIT) if params.text("limit") else None
            return await _stream(request, search, bound)
        limit = params.number("limit", LIMIT, MAX_LIMIT)
        matching = [wire.event_json(row) async for page in search.pages(limit) for row in page]
        return answer({"events": matching, **_end(search)}, search.head)


def _end(search: Search) -> dict[str, Any]:
    archived = {"archived_to": search.archived} if search.archived else {}
    far = {"next": search.next, "scanned": search.scanned, "scanned_to": search.scanned_to}
    return {**far, "head": search.head, **archived}


async def _stream(request: web.Request, search: Search, limit: int | None) -> web.StreamResponse:
    """Send a line for each event, and a last line without a position. A stream without it is incomplete."""
    response = web.StreamResponse(headers={"Content-Type": NDJSON, "Cache-Control": "no-store"})
    pages = search.pages(limit)
    first: list[Any] = await anext(pages, [])  # an error before the first byte still has a status
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    is_whole = False
    try:
        await response.write(_lines(first))
        async for page in pages:
            await response.write(_lines(page))
        await response.write(msgspec.json.encode(_end(search)) + b"\n")
        is_whole = True
    except ConnectionResetError:
        logger.info("reader_gone", path=request.path)
    except UNREACHABLE as error:
        request.app[HEARTBEAT].outage.fail(error, path=request.path)
    finally:
        # A status cannot follow the first byte: the client sees an incomplete stream by the closed connection.
        if not is_whole and request.transport is not None:
            request.transport.abort()
    return response


def _lines(page: list[Any]) -> bytes:
    return b"".join([msgspec.json.encode(wire.event_json(row)) + b"\n" for row in page])


def answer(body: dict[str, Any], position: int) -> web.Response:
    """Return a response about the log up to ``position``."""
    return web.Response(
        body=msgspec.json.encode(body),
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "no-store", "X-Ledger-Position": str(position)},
    )


ROUTES = [web.get("/v1/ledger/events", require_permission("admin", events))]
