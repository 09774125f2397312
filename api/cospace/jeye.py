"""GET /api/jeye/{host}: one sample a minute of a PBX (seed 000:5-43). ``host`` is the PBX's name."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from aiohttp import web

from api.cospace import envelope
from api.http.query import QueryParams
from api.http.views.handlers import view_handler
from api.http.views.view import Args, View, storable_text
from projections.calls.samples import time_of
from services.runtime.errors import Invalid

MINUTE = timedelta(minutes=1)
COUNT, MAX_COUNT = 10, 5_000

# $2 and $3 bound the minute, both inclusive; samples have full minutes, so an exclusive bound is the next one.
COLUMNS = """
SELECT uuid, pbx, minute, link, active_channels, active_calls, callers_waiting, members, events, events_per_second,
       rejected_blocks, rejected_bytes, tm_update
FROM samples
WHERE pbx = $1::text AND ($2::timestamptz IS NULL OR minute >= $2) AND ($3::timestamptz IS NULL OR minute <= $3)
"""
FORWARD = COLUMNS + "ORDER BY minute LIMIT $4::bigint"
BACKWARD = COLUMNS + "ORDER BY minute DESC LIMIT $4::bigint"


def bounds(request: web.Request) -> tuple[bool, Args]:
    """Return whether the order is descending, and the arguments of the SQL. Raises Invalid."""
    params = QueryParams(request, is_strict=False)
    since, until = params.epoch_seconds("from"), params.epoch_seconds("to")
    if since and until and since > until:
        raise Invalid("from must not be after to")
    is_descending = params.word("order", "asc", "desc") == "desc"
    count = params.number("count", COUNT, MAX_COUNT, digits=4)
    if (text := params.text("start")) is not None:
        start = _sample_time(text)
        if not is_descending:
            since = start - (start - datetime(1970, 1, 1, tzinfo=UTC)) % MINUTE + MINUTE
        else:
            until = start - timedelta(microseconds=1)
    return is_descending, (since, until, count)


def _sample_time(text: str) -> datetime:
    try:
        return time_of(text)
    except (ValueError, OverflowError):
        raise Invalid("start is the UUID of a sample") from None


def host(request: web.Request) -> str:
    """Return the PBX that the path names."""
    return storable_text(request.match_info["host"])


def by_uuid(rows: Sequence[asyncpg.Record], _now: datetime) -> Any:
    return {"jeye": {row["uuid"]: dict(row) for row in rows}} if rows else None


def view(name: str, sql: str) -> View:
    return View(name, ("samples",), sql, lambda request: bounds(request)[1], by_uuid, envelope.RENDERER, pbx=host)


FORWARDS, BACKWARDS = view_handler(view("jeye.asc", FORWARD)), view_handler(view("jeye.desc", BACKWARD))


async def jeye(request: web.Request) -> web.StreamResponse:
    descending, _ = bounds(request)
    return await (BACKWARDS if descending else FORWARDS)(request)
