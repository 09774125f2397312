"""?statistics=<day or month>&scope=...: every event that changed the numbers, and the amounts that it added.

The amounts add up to the numbers of ``/api/statistics`` and ``/api/usage``, because they are differences of these. The
model is folded again. After each event that changed a row of the scope, the rows are summed up as the view does it.

The fold begins a day before the period, because a Cdr may depend on queue events of hours before. It ends with the last
Cdr of a call that began in the period. If that does not give the numbers served, the whole log is folded.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from aiohttp import web
from msgspec.structs import asdict

from api.app_keys import POOL
from api.http.errors import ApiError
from api.http.paging import page
from api.http.query import QueryParams
from api.ledger.events import answer
from api.ledger.explain import wire
from api.ledger.search import BOUNDS
from projections.calls.statistics import STATISTICS, Statistics
from projections.calls.statistics_sums import CALLS, QUEUE, add, day, month
from projections.engine.model import Key
from projections.engine.trace import Step
from services.projector.checkpoints.checkpoints import UnreadyError, read
from services.projector.table import Table
from services.replay.explain import Window, explain_rows

LIMIT = 1_000
MAX_LIMIT = 10_000
STEPS_PER_TURN = 100
"""Steps that are summed up in one turn of the event loop, which takes some milliseconds."""
SCOPES = ("total", "pbx", "queue", "agent", "endpoint")
MEMBERS = (*CALLS, "longest_seconds", "by_hour", *QUEUE)

COLUMNS = ", ".join(f"s.{name}" for name in Table(STATISTICS).columns)
ROWS = f"""
SELECT {COLUMNS} FROM statistics s
WHERE period = $1 AND scope = $2 AND ($3::text IS NULL OR name = $3) AND ($4::text IS NULL OR pbx = $4)
ORDER BY pbx, name
"""
LAST_RECORD = "SELECT max(position) FROM call_records WHERE start_time >= $1 AND start_time < $2"

Sums = dict[str, Any]


async def explain(request: web.Request) -> web.Response:
    params = QueryParams(request, "statistics", "scope", "name", "member", "pbx", "cursor", "limit")
    period, begin, end = _period(params.text("statistics") or "")
    scope = params.word("scope", *SCOPES) or "total"
    name, member, pbx = params.text("name"), params.word("member", *MEMBERS), params.text("pbx")
    cursor, limit = params.position("cursor") or 0, params.number("limit", LIMIT, MAX_LIMIT)
    if (name is None) != (scope == "total"):
        raise ApiError(400, "name: needed for every scope but total")
    async with (
        request.app[POOL].acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        reading = await read(connection)
        checkpoint = reading.models.get(STATISTICS.name)
        if checkpoint is None or checkpoint.version != STATISTICS.version:
            raise UnreadyError("read model statistics is being built")
        records = await connection.fetch(ROWS, period, "pbx" if scope == "total" else scope, name, pbx)
        rows: dict[Key, Any] = {_key(row): row for row in Table(STATISTICS).rows(records)}
        if not rows:
            raise ApiError(404, "not found: a statistic with these parameters")
        windows = await _windows(connection, begin, end, checkpoint.position)
    value = summed(rows)
    if member is not None and member not in value:
        raise ApiError(400, f"member: {scope} has {', '.join(value)}")
    refolded = await explain_rows(request.app[POOL], STATISTICS, rows, windows)
    later = [one async for one in _amounts(refolded.steps, member) if one["position"] > cursor]
    events, after = page(later, limit, lambda one: one["position"])
    body = {
        "statistics": period,
        "scope": scope,
        "name": name,
        "pbx": pbx,
        "member": member,
        "value": value if member is None else value[member],
        "events": events,
        "next": after,
        **wire.fold_summary(refolded, checkpoint.position),
    }
    return answer(body, checkpoint.position)


def _period(text: str) -> tuple[str, datetime, datetime]:
    for form in (day, month):
        try:
            return text, *form(text)
        except ValueError:
            continue
    raise ApiError(400, "statistics: a day as 2026-11-23, or a month as 2026-11")


def _key(row: Any) -> Key:
    return (row.pbx, row.period, row.scope, row.name)


async def _windows(connection: asyncpg.Connection, begin: datetime, end: datetime, position: int) -> list[Window]:
    _, after, until = await connection.fetchrow(BOUNDS, begin - timedelta(days=1), end + timedelta(hours=1))
    last = await connection.fetchval(LAST_RECORD, begin, end) or 0
    return [(after, min(max(until, last), position)), (0, position)]


def summed(rows: dict[Key, Statistics]) -> Sums:
    """Sum rows up as the view does, numbers only."""
    sums: Sums = {}
    for _, row in sorted(rows.items()):
        add(sums, asdict(row))
    sums.pop("name", None)
    return sums


async def _amounts(steps: list[Step], member: str | None) -> AsyncIterator[dict[str, Any]]:
    rows: dict[Key, Statistics] = {}
    before: Sums = {}
    for number, step in enumerate(steps):
        if number % STEPS_PER_TURN == 0:
            await asyncio.sleep(0)
        rows[step.key] = step.after
        after = summed(rows)
        amounts = {name: _less(value, before.get(name)) for name, value in after.items()}
        before = after
        if member is not None and _is_some(amounts[member]):
            yield {**wire.event_summary(step.event), "amount": amounts[member]}
        elif member is None and (some := {name: value for name, value in amounts.items() if _is_some(value)}):
            yield {**wire.event_summary(step.event), "amounts": some}


def _less(value: Any, before: Any) -> Any:
    if isinstance(value, list):
        return [a - b for a, b in zip(value, before or [0] * len(value), strict=True)]
    return value - (before or 0)


def _is_some(amount: Any) -> bool:
    return any(amount) if isinstance(amount, list) else bool(amount)
