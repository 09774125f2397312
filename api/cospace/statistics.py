"""GET /api/statistics/{date} and /api/usage/{month}: sums over call records (seed 000:116-148).

``total`` is the sum of ``pbx``. Queues, agents and endpoints that have one name on several PBXes are added up, unless
``?pbx=`` narrows all to one. A day or month is one in UTC. ``gaps`` are its times without a connection to a PBX: calls
that ended then are missing in every number, and ``complete`` is false. A period with nothing but a gap has zeros that
are not complete; a period without any data is not found.

Waits, abandoned callers and the service level of a queue are sums of passages, as those of ``/v1/statistics/queues``.
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
from services.statistics.gaps import GAPS
from services.statistics.queues import ratio

SLA_SECONDS = 20
OF_PBX = " AND ($1::text IS NULL OR pbx = $1)"
# $2 is the name of the period in the rows; $3 and $4 are its beginning and end.
SQL = f"""
WITH passages AS (
    SELECT pbx, 'queue' AS scope, queue AS name, sum(answered)::bigint AS answered, sum(abandoned)::bigint AS abandoned,
           sum(waits)::bigint AS waits, sum(wait_milliseconds)::bigint AS wait_milliseconds,
           sum(coalesce(
               (answered_counts::bigint[])[width_bucket({SLA_SECONDS * 1000}::bigint, answered_waits::bigint[])], 0
           ))::bigint AS in_sla
    FROM queue_hours
    WHERE ($1::text IS NULL OR pbx = $1) AND at >= $3::timestamptz AND at < $4::timestamptz
    GROUP BY pbx, queue HAVING sum(answered + abandoned) > 0
), records AS (
    SELECT * FROM statistics WHERE ($1::text IS NULL OR pbx = $1) AND period = $2::text
)
SELECT scope, name, r.label, coalesce(r.calls, 0) AS calls, coalesce(r.answered, 0) AS answered,
       coalesce(r.no_answer, 0) AS no_answer, coalesce(r.busy, 0) AS busy, coalesce(r.failed, 0) AS failed,
       coalesce(r.congestion, 0) AS congestion, coalesce(r.talk_seconds, 0) AS talk_seconds,
       coalesce(r.ring_seconds, 0) AS ring_seconds, coalesce(r.longest_seconds, 0) AS longest_seconds,
       coalesce(r.by_hour, '[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]'::jsonb) AS by_hour,
       coalesce(r.entered, 0) AS entered, coalesce(r.connected, 0) AS connected,
       coalesce(p.answered, 0) AS passages_answered, coalesce(p.abandoned, 0) AS abandoned,
       coalesce(p.waits, 0) AS waits, coalesce(p.wait_milliseconds, 0) AS wait_milliseconds,
       coalesce(p.in_sla, 0) AS in_sla, coalesce(g.gaps, '[]') AS gaps
FROM ({GAPS.format(since="$3", until="$4", of_gaps=OF_PBX)}) AS g
LEFT JOIN (records r FULL JOIN passages p USING (pbx, scope, name)) ON true
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
    waits: dict[str, list[asyncpg.Record]] = {}
    for row in counts:
        add(result[SCOPES[row["scope"]]].setdefault(row["name"], {}), row)
        if row["scope"] == "queue":
            waits.setdefault(row["name"], []).append(row)
        if row["scope"] == "pbx":
            add(result["total"], row)
    for name, rows_of_queue in waits.items():
        result["queues"][name] |= figures_of_passages(rows_of_queue)
    result["total"] = result["total"] or ZEROS
    return {"result": {**result, "complete": not gaps, "gaps": gaps}}


def figures_of_passages(rows: Sequence[asyncpg.Record]) -> dict[str, Any]:
    """Return the figures that a queue has from its passages; ``rows`` are those of its PBXes."""
    names = ("passages_answered", "abandoned", "waits", "wait_milliseconds", "in_sla")
    sums = {name: sum([row[name] for row in rows]) for name in names}
    seconds, rest = divmod(sums["wait_milliseconds"], 1000)
    return {
        "abandoned": sums["abandoned"],
        "waits": sums["waits"],
        "wait_seconds": seconds if rest == 0 else sums["wait_milliseconds"] / 1000,
        "sla_seconds": SLA_SECONDS,
        "in_sla": sums["in_sla"],
        "in_sla_percent": ratio(100 * sums["in_sla"], sums["passages_answered"]),
    }


def view(name: str, period: Period) -> View:
    return View(name, ("statistics", "calls", "gaps"), SQL, args_of(period), sums, envelope.RENDERER)


DAY = view("statistics", day)
MONTH = view("usage", month)
