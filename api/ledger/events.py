"""GET /v1/ledger/events: the log itself, filtered, page by page in either order, as JSON or as a stream of lines."""

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
from services.database import connection as database

LIMIT = 100
MAX_LIMIT = 10_000
SOURCES = ("ami", "ari", "ringledger", "cdr_csv", "cel_csv", "queue_log")
PARAMETERS = (
    *("pbx", "name", "source", "channel", "uniqueid", "linkedid", "from", "to", "after", "before"),
    *("order", "cursor", "limit", "format"),
)
NDJSON = "application/x-ndjson"

logger = structlog.get_logger()


def search_filter(asked: QueryParams) -> SearchFilter:
    """Return what is asked for; a cursor narrows it on the side on which the pages before it were."""
    descending = asked.word("order", "asc", "desc") == "desc"
    cursor = asked.position("cursor")
    after, before = asked.position("after") or 0, asked.position("before")
    if cursor is not None and descending:
        before = cursor if before is None else min(before, cursor)
    elif cursor is not None:
        after = max(after, cursor)
    looked_for = (("uniqueid", UNIQUE_ID), ("linkedid", LINKED_ID), ("channel", CHANNEL))
    held = [(kind, asked.utf8(name)) for name, kind in looked_for]
    return SearchFilter(
        pbx=asked.text("pbx"),
        source=asked.word("source", *SOURCES),
        names=asked.texts("name"),
        since=asked.time("from"),
        until=asked.time("to"),
        after=after,
        before=before,
        held=tuple(ValueMatch(kind, frozenset({value})) for kind, value in held if value is not None),
        descending=descending,
    )


async def events(request: web.Request) -> web.StreamResponse:
    asked = QueryParams(request, *PARAMETERS)
    form = asked.word("format", "json", "ndjson")
    queue, user = request.app[QUEUES].search, requester_uuid(request)
    search = Search(request.app[POOL], search_filter(asked), lambda: queue.turn(user))
    with queue.place(user):
        if form == "ndjson" or (form is None and NDJSON in request.headers.get("Accept", "")):
            limit = asked.number("limit", MAX_LIMIT, MAX_LIMIT) if asked.text("limit") else None
            return await _stream(request, search, limit)
        found = [
            wire.event_json(row) async for page in search.pages(asked.number("limit", LIMIT, MAX_LIMIT)) for row in page
        ]
        return answer({"events": found, **_end(search)}, search.head)


def _end(search: Search) -> dict[str, Any]:
    archived = {"archived_to": search.archived} if search.archived else {}
    far = {"next": search.next, "scanned": search.scanned, "scanned_to": search.scanned_to}
    return {**far, "head": search.head, **archived}


async def _stream(request: web.Request, search: Search, limit: int | None) -> web.StreamResponse:
    """Send a line for each event, and one without a position at the end: without that a stream is not whole."""
    response = web.StreamResponse(headers={"Content-Type": NDJSON, "Cache-Control": "no-store"})
    pages = search.pages(limit)
    first: list[Any] = await anext(pages, [])  # what fails before anything is sent is an error like any other
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
    except database.UNREACHABLE as error:
        request.app[HEARTBEAT].outage.fail(error, path=request.path)
    finally:
        # Whatever ends the stream early, an answer with a status cannot follow any more; the cut tells the client.
        if not is_whole and request.transport is not None:
            request.transport.abort()
    return response


def _lines(page: list[Any]) -> bytes:
    return b"".join([msgspec.json.encode(wire.event_json(row)) + b"\n" for row in page])


def answer(body: dict[str, Any], position: int) -> web.Response:
    """Make an answer about the log as it is up to ``position``."""
    return web.Response(
        body=msgspec.json.encode(body),
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "no-store", "X-Ledger-Position": str(position)},
    )


ROUTES = [web.get("/v1/ledger/events", require_permission("admin", events))]
