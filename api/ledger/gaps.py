"""GET /v1/ledger/gaps: the times in which nobody heard a PBX, oldest first."""

from collections.abc import Sequence
from typing import Any

import asyncpg
from aiohttp import web

from api.cospace.envelope import ENVELOPE
from api.http.auth import require_permission
from api.http.errors import ApiError
from api.http.handlers import view_handler
from api.http.query import QueryParams, stamp
from api.http.views import Args, View

LIMIT = 1_000
MAX_LIMIT = 10_000

# A gap that is open lasts until now. One more than asked for says whether there is a next.
SQL = """
SELECT pbx, from_position, until_position, from_time, until_time, healed_time, reason,
       greatest(0, extract(epoch FROM coalesce(until_time, $6::timestamptz) - from_time))::float8 AS seconds,
       $5::bigint AS asked
FROM gaps
WHERE ($1::text IS NULL OR pbx = $1)
  AND ($2::timestamptz IS NULL OR until_time IS NULL OR until_time >= $2)
  AND ($3::timestamptz IS NULL OR from_time < $3)
  AND from_position > $4::bigint
ORDER BY from_position LIMIT $5::bigint + 1
"""


def args(request: web.Request) -> Args:
    asked = QueryParams(request, "pbx", "from", "to", "after", "limit", "wait", "as_of")
    since, until = asked.time("from"), asked.time("to")
    if since and until and since > until:
        raise ApiError(400, "from must not be after to")
    return (asked.text("pbx"), since, until, asked.position("after") or 0, asked.limit(LIMIT, MAX_LIMIT))


def wire(rows: Sequence[asyncpg.Record]) -> Any:
    more = bool(rows) and len(rows) > rows[0]["asked"]
    gaps = [
        {
            "pbx": row["pbx"],
            "from": stamp(row["from_time"]),
            "until": stamp(row["until_time"]),
            "healed": stamp(row["healed_time"]),
            "seconds": row["seconds"],
            "reason": row["reason"],
            "from_position": row["from_position"],
            "until_position": row["until_position"],
        }
        for row in (rows[:-1] if more else rows)
    ]
    return {"gaps": gaps, "next": gaps[-1]["from_position"] if more else None}


VIEW = View("ledger.gaps", ("gaps",), SQL, args, wire, ENVELOPE, ticks=True)

ROUTES = [web.get("/v1/ledger/gaps", require_permission("admin", view_handler(VIEW)))]
