"""GET /v1/ledger/gaps: the times without a link to a PBX, oldest first."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
from aiohttp import web

from api.http.auth import require_permission
from api.http.errors import ApiError
from api.http.paging import page
from api.http.query import QueryParams
from api.http.views.handlers import view_handler
from api.http.views.rendering import JSON, Renderer
from api.http.views.view import Args, View
from services.log.times import rfc3339_microseconds

LIMIT = 1_000
MAX_LIMIT = 10_000

# One row more than the limit shows whether there is a next page.
SQL = """
SELECT pbx, from_position, until_position, from_time, until_time, healed_time, reason, $5::bigint AS page_size
FROM gaps
WHERE ($1::text IS NULL OR pbx = $1)
  AND ($2::timestamptz IS NULL OR until_time IS NULL OR until_time >= $2)
  AND ($3::timestamptz IS NULL OR from_time < $3)
  AND from_position > $4::bigint
ORDER BY from_position LIMIT $5::bigint + 1
"""


RENDERER = Renderer("ledger", JSON, msgspec.json.encode, lambda _now: (b"", b""))
PARAMETERS = ("pbx", "from", "to", "after", "limit", "wait", "as_of")


def pbx(request: web.Request) -> str | None:
    return QueryParams(request, *PARAMETERS).text("pbx")


def args(request: web.Request) -> Args:
    params = QueryParams(request, *PARAMETERS)
    since, until = params.time("from"), params.time("to")
    if since and until and since > until:
        raise ApiError(400, "from must not be after to")
    return (since, until, params.position("after") or 0, params.number("limit", LIMIT, MAX_LIMIT))


def wire(rows: Sequence[asyncpg.Record], now: datetime) -> Any:
    rows, after = page(rows, rows[0]["page_size"], lambda row: row["from_position"]) if rows else (rows, None)
    gaps = [
        {
            "pbx": row["pbx"],
            "from": rfc3339_microseconds(row["from_time"]),
            "until": rfc3339_microseconds(row["until_time"]),
            "healed": rfc3339_microseconds(row["healed_time"]),
            "seconds": max(0.0, ((row["until_time"] or now) - row["from_time"]).total_seconds()),
            "reason": row["reason"],
            "from_position": row["from_position"],
            "until_position": row["until_position"],
        }
        for row in rows
    ]
    return {"gaps": gaps, "next": after}


VIEW = View("ledger.gaps", ("gaps",), SQL, args, wire, RENDERER, ticks=True, pbx=pbx)

ROUTES = [web.get("/v1/ledger/gaps", require_permission("admin", view_handler(VIEW)))]
