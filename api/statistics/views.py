"""GET /v1/statistics/queues and /v1/statistics/agents, as JSON or CSV."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
from aiohttp import web

from api.app_keys import VIEWS
from api.http.auth import requester_uuid, require_permission
from api.http.query import QueryParams
from api.http.views.rendering import JSON, PiecesOf, Renderer
from api.http.views.view import View
from api.statistics.period import is_csv, names, period
from services.log.times import rfc3339_microseconds
from services.statistics import agents, queues
from services.statistics.groups import groups
from services.statistics.period import Period

SLA_SECONDS = 20
MAX_SLA_SECONDS = 1 << 31
PARAMETERS = ("pbx", "name", "from", "to", "every", "timezone", "format", "wait", "as_of")
PIECE = 500
"""Rows per piece: the event loop serves others after each."""

JSON_RENDERER = Renderer("statistics", JSON, lambda made: made, lambda _now: (b"", b""))
CSV_RENDERER = Renderer("statistics.csv", "text/csv; charset=utf-8", lambda made: made, lambda _now: (b"", b""))

Rows = Sequence[asyncpg.Record]
Figures = Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]
"""Makes the figures of the rows of one name and bucket, zeros of none."""


def pbx(request: web.Request) -> str | None:
    return QueryParams(request, is_strict=False).text("pbx")


def json_pieces(span: Period, about: dict[str, Any], of: Figures, selection: tuple[str, ...]) -> PiecesOf:
    """Return the wire of a JSON object with ``rows`` and ``totals``."""

    def pieces(rows: Rows, _now: datetime) -> Iterator[bytes]:
        gaps = (rows[0]["gaps"] if rows else None) or []
        head = {
            "from": rfc3339_microseconds(span.since),
            "to": rfc3339_microseconds(span.until),
            "every": span.every,
            "timezone": span.timezone,
            **about,
            "complete": not gaps,
            "gaps": gaps,
        }
        opening = msgspec.json.encode(head)[:-1] + b',"rows":['
        grouped = groups(rows)
        buckets = [group for group in grouped if group[2]]
        times = [rfc3339_microseconds(edge) for edge in span.edges]
        for start in range(0, len(buckets), PIECE):
            items = [
                {"name": name, "pbx": pbx, "at": times[bucket - 1], **of(some)}
                for name, pbx, bucket, some in buckets[start : start + PIECE]
            ]
            yield opening + msgspec.json.encode(items)[1:-1]
            opening = b","
        totals = {name: of(some) for name, _, bucket, some in grouped if not bucket}
        shown = [{"name": name, **totals.get(name, of([]))} for name in selection or totals]
        yield (b"" if buckets else opening) + b'],"totals":%b}' % msgspec.json.encode(shown)

    return PiecesOf(pieces)


def csv_pieces(span: Period, columns: tuple[str, ...], of: Figures) -> PiecesOf:
    """Return the wire of CSV: a header line, and a line for each PBX, name and bucket."""

    def pieces(rows: Rows, _now: datetime) -> Iterator[bytes]:
        yield ",".join(("pbx", "name", "at", *columns)).encode() + b"\r\n"
        buckets = [group for group in groups(rows) if group[2]]
        for start in range(0, len(buckets), PIECE):
            text = io.StringIO()
            writer = csv.writer(text)
            for name, pbx, bucket, some in buckets[start : start + PIECE]:
                made = of(some)
                at = rfc3339_microseconds(span.edges[bucket - 1])
                writer.writerow((pbx, name, at, *(_cell(made[column]) for column in columns)))
            yield text.getvalue().encode()

    return PiecesOf(pieces)


def _cell(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else value


async def queue_figures(request: web.Request) -> web.StreamResponse:
    params = QueryParams(request, *PARAMETERS, "sla")
    sla = params.whole("sla", SLA_SECONDS, MAX_SLA_SECONDS)
    selection, span, by_pbx = names(params), period(params, datetime.now(UTC)), params.text("pbx") is not None
    table = queues.table_of(span)

    def of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return queues.figures(rows[0] if rows else None)

    is_table = is_csv(request, params)
    view = View(
        f"statistics.queues {span.every} {span.timezone}",
        ("calls", "gaps"),
        queues.sql(table, by_pbx=by_pbx, by_name=bool(selection)),
        lambda _request: (span.since, span.until, sla, selection),
        csv_pieces(span, queues.FIGURES, of) if is_table else json_pieces(span, {"sla_seconds": sla}, of, selection),
        CSV_RENDERER if is_table else JSON_RENDERER,
        pbx=pbx if by_pbx else None,
        bind=lambda _args: queues.args(span, sla, selection),
    )
    return await _serve(view, request)


async def agent_figures(request: web.Request) -> web.StreamResponse:
    params = QueryParams(request, *PARAMETERS)
    selection, span, by_pbx = names(params), period(params, datetime.now(UTC)), params.text("pbx") is not None
    table = agents.table_of(span)
    is_table = is_csv(request, params)
    view = View(
        f"statistics.agents {span.every} {span.timezone}",
        ("calls", "agent_sessions", "agent_names", "gaps"),
        agents.sql(table, by_pbx=by_pbx, by_name=bool(selection)),
        lambda _request: (span.since, span.until, selection),
        csv_pieces(span, agents.FIGURES, agents.figures)
        if is_table
        else json_pieces(span, {"sla_seconds": None}, agents.figures, selection),
        CSV_RENDERER if is_table else JSON_RENDERER,
        ticks=True,
        pbx=pbx if by_pbx else None,
        takes_now=True,
        bind=lambda _args: agents.args(span, selection),
    )
    return await _serve(view, request)


async def _serve(view: View, request: web.Request) -> web.StreamResponse:
    response = await request.app[VIEWS].serve(view, request, requester_uuid(request))
    response.headers["Vary"] = "Accept"
    return response


ROUTES = [
    web.get("/v1/statistics/queues", require_permission("supervisor", queue_figures)),
    web.get("/v1/statistics/agents", require_permission("supervisor", agent_figures)),
]
