"""GET /api/statistics/{date} and /api/usage/{month}: sums over call records (seed 000:116-148).

``total`` is the sum of ``pbx``. Queues, agents and endpoints that have one name on several PBXes are added up, unless
``?pbx=`` narrows all to one. A day or month is one in UTC. ``gaps`` are its times without a connection to a PBX: calls
that ended then are missing in every number, and ``complete`` is false. A period with nothing but a gap has zeros that
are not complete; a period without any data is not found.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import asyncpg
from aiohttp import web

from api.cospace import envelope
from api.http.views.view import Args, View
from projections.calls.statistics_sums import CALLS, Period, add, day, month
from services.runtime.errors import Invalid

# $2 is the name of the period in the rows; $3 and $4 are its beginning and end.
SQL = """
SELECT scope, name, label, calls, answered, no_answer, busy, failed, congestion, talk_seconds, ring_seconds,
       longest_seconds, by_hour, entered, connected, abandoned, wait_seconds, g.gaps
FROM (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'pbx', pbx, 'reason', reason,
                 'from', to_char(from_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                 'until', to_char(until_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
             ) ORDER BY from_time), '[]') AS gaps
      FROM gaps
      WHERE ($1::text IS NULL OR pbx = $1) AND from_time < $4::timestamptz
        AND (until_time IS NULL OR until_time >= $3::timestamptz)) AS g
LEFT JOIN statistics ON ($1::text IS NULL OR pbx = $1) AND period = $2::text
ORDER BY scope, name, pbx
"""

ZEROS = {**dict.fromkeys(CALLS, 0), "longest_seconds": 0, "by_hour": [0] * 24}
SCOPES = {"pbx": "pbx", "queue": "queues", "agent": "agents", "endpoint": "endpoints"}


def args_of(period: Period) -> Callable[[web.Request], Args]:
    def args(request: web.Request) -> Args:
        text = request.match_info["period"]
        try:
            return (text, *period(text))
        except ValueError:
            raise Invalid(f"not a {period.__name__}: {text}") from None

    return args


def sums(rows: Sequence[asyncpg.Record], _now: datetime) -> Any:
    """Return the result: maps by name for each scope, and their total."""
    gaps = rows[0]["gaps"]
    counts = [row for row in rows if row["scope"] is not None]
    if not (counts or gaps):
        return None
    result: dict[str, Any] = {"total": {}, "pbx": {}, "queues": {}, "agents": {}, "endpoints": {}}
    for row in counts:
        add(result[SCOPES[row["scope"]]].setdefault(row["name"], {}), row)
        if row["scope"] == "pbx":
            add(result["total"], row)
    result["total"] = result["total"] or ZEROS
    return {"result": {**result, "complete": not gaps, "gaps": gaps}}


def view(name: str, period: Period) -> View:
    return View(name, ("statistics", "gaps"), SQL, args_of(period), sums, envelope.RENDERER)


DAY = view("statistics", day)
MONTH = view("usage", month)
