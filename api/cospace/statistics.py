"""GET /api/statistics/{date} and /api/usage/{month}: sums over call records (seed 000:116-148).

``total`` is the sum of ``pbx``. Queues, agents and endpoints that have one name on several PBXes are added up, unless
``?pbx=`` narrows all to one. A day or month is one in UTC. ``gaps`` are its times without a connection to a PBX: calls
that ended then are missing in every number, and ``complete`` is false. A period with nothing but a gap has zeros that
are not complete; a period without any data is not found.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from aiohttp import web

from api.cospace import envelope
from api.http.errors import ApiError
from api.http.views import Args, View, pbx_filter

# $2 is the period as the rows name it, $3 and $4 are its beginning and end.
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

CALLS = ("calls", "answered", "no_answer", "busy", "failed", "congestion", "talk_seconds", "ring_seconds")
QUEUE = ("entered", "connected", "abandoned", "wait_seconds")
NOTHING = {**dict.fromkeys(CALLS, 0), "longest_seconds": 0, "by_hour": [0] * 24}
SCOPES = {"pbx": "pbx", "queue": "queues", "agent": "agents", "endpoint": "endpoints"}
Period = Callable[[str], tuple[datetime, datetime]]


def day(text: str) -> tuple[datetime, datetime]:
    """Return the beginning and end of a date. Raises ValueError."""
    start = _start(r"\d{4}-\d\d-\d\d", text, "%Y-%m-%d")
    return start, start + timedelta(days=1)


def month(text: str) -> tuple[datetime, datetime]:
    """Return the beginning and end of a month. Raises ValueError."""
    start = _start(r"\d{4}-\d\d", text, "%Y-%m")
    return start, (start + timedelta(days=31)).replace(day=1)


def _start(pattern: str, text: str, form: str) -> datetime:
    if not re.fullmatch(pattern, text, re.ASCII) or text >= "9999":
        raise ValueError(text)
    return datetime.strptime(text, form).replace(tzinfo=UTC)


def args(period: Period) -> Callable[[web.Request], Args]:
    def of(request: web.Request) -> Args:
        text = request.match_info["period"]
        try:
            return (pbx_filter(request), text, *period(text))
        except ValueError:
            raise ApiError(400, f"no such {period.__name__}: {text}") from None

    return of


def sums(rows: Sequence[asyncpg.Record]) -> Any:
    """Make the result: maps by name for each scope, and what it all amounts to."""
    gaps = rows[0]["gaps"]
    counted = [row for row in rows if row["scope"] is not None]
    if not (counted or gaps):
        return None
    result: dict[str, Any] = {"total": {}, "pbx": {}, "queues": {}, "agents": {}, "endpoints": {}}
    for row in counted:
        add(result[SCOPES[row["scope"]]].setdefault(row["name"], {}), row)
        if row["scope"] == "pbx":
            add(result["total"], row)
    result["total"] = result["total"] or NOTHING
    return {"result": {**result, "complete": not gaps, "gaps": gaps}}


def add(to: dict[str, Any], row: Mapping[str, Any]) -> None:
    """Add a row of the table to what is served under one name."""
    for name in (*CALLS, *(QUEUE if row["scope"] == "queue" else ("connected",) if row["scope"] == "agent" else ())):
        to[name] = to.get(name, 0) + row[name]
    to["longest_seconds"] = max(to.get("longest_seconds", 0), row["longest_seconds"])
    to["by_hour"] = [a + b for a, b in zip(to.get("by_hour", [0] * 24), row["by_hour"], strict=True)]
    if row["scope"] == "agent":
        to["name"] = row["label"] or to.get("name", "")


def view(name: str, period: Period) -> View:
    return View(name, ("statistics", "gaps"), SQL, args(period), sums, envelope.ENVELOPE)


DAY = view("statistics", day)
MONTH = view("usage", month)
