"""GET /v1/ledger/status: the positions of the log and of all read models, the links, and the events without a model."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
from aiohttp import web

from api.app_keys import CHECKPOINTS, POOL, SETTINGS
from api.http.auth import require_permission
from api.http.query import QueryParams
from api.ledger.events import answer
from api.ops.listeners import listener_report
from projections import ALL
from projections.engine.subscriptions import SNAPSHOT_EVENTS
from projections.pbx.links import refused_lists, unanswered_lists
from services.log.archives import Archive, read_catalog
from services.log.read import read_head
from services.log.times import rfc3339_microseconds
from services.projector.checkpoints.checkpoints import CheckpointReading, read
from services.projector.checkpoints.watcher import CheckpointWatcher

REBUILDING = "SELECT model, version, position, error FROM ledger.checkpoint WHERE place = 'rebuild' ORDER BY model"
LINKS = """
SELECT pbx, state, since, healed, address, banner, reason, refused, epoch, last_snapshot, last_minute, failed
FROM links ORDER BY pbx
"""
# The PBX chooses the names, so their number has no bound: the most frequent are listed, all are counted.
UNHANDLED = """
SELECT n.source, n.name, sum(n.count)::bigint AS count, max(n.last) AS last_position,
       array_agg(n.pbx ORDER BY n.pbx) AS pbx, count(*) OVER () AS names
FROM ledger.name n
WHERE NOT EXISTS (SELECT FROM unnest($1::text[], $2::text[]) AS t (source, name)
                  WHERE t.source = n.source AND t.name = n.name)
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT $3
"""
MAX_UNHANDLED = 1_000
UNFIT = """
SELECT model, name, count(*) AS count, max(position) AS last_position,
       (array_agg(error ORDER BY position DESC))[1] AS last_error
FROM ledger.unfit GROUP BY 1, 2 ORDER BY 1, 2
"""
# The name of a partition ends in its month: ledger.open_month.
MONTHS = """
WITH part AS (
    SELECT to_date(right(c.relname, 7), 'YYYY_MM') AS month, c.oid AS events,
           to_regclass('ledger.batch_' || right(c.relname, 7)) AS batches
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'ledger.event'::regclass
)
SELECT to_char(month, 'YYYY-MM') AS month, pg_total_relation_size(events) AS event_bytes,
       coalesce(pg_total_relation_size(batches), 0) AS batch_bytes,
       (SELECT first FROM ledger.batch b WHERE b.month = part.month ORDER BY first LIMIT 1) AS first_position,
       (SELECT last FROM ledger.batch b WHERE b.month = part.month ORDER BY first DESC LIMIT 1) AS last_position
FROM part ORDER BY part.month
"""


def handled_events() -> tuple[list[str], list[str]]:
    """Return the sources and the names of all events that a model handles."""
    pairs = {(getattr(on.shape, "source_of_events", "ami"), name) for model in ALL for name, on in model.on.items()}
    pairs |= {("ringledger", name) for name in SNAPSHOT_EVENTS}
    sources, names = zip(*sorted(pairs), strict=True)
    return list(sources), list(names)


async def status(request: web.Request) -> web.Response:
    QueryParams(request)
    checkpoints = request.app[CHECKPOINTS]
    async with (
        request.app[POOL].acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        reading = await read(connection)
        head = await read_head(connection)
        body = {
            "head": {
                "position": head["position"],
                "hash": head["hash"].hex(),
                "appended": rfc3339_microseconds(head["appended"]) if head["position"] else None,
            },
            "models": _models(checkpoints, reading),
            "rebuilding": [dict(row) for row in await connection.fetch(REBUILDING)],
            "pbx": await _links(connection, reading) if "links" in reading.models else {},
            **_unhandled(await connection.fetch(UNHANDLED, *handled_events(), MAX_UNHANDLED)),
            "unfit": [dict(row) for row in await connection.fetch(UNFIT)],
            "archives": [_archive(one) for one in (await read_catalog(connection)).archives],
            "months": [dict(row) for row in await connection.fetch(MONTHS)],
        }
    report = await listener_report(request.app[POOL], request.app[SETTINGS].data, away=checkpoints.is_stale)
    return answer({**body, "listeners": msgspec.to_builtins(report.listeners)}, head["position"])


def _unhandled(rows: Sequence[asyncpg.Record]) -> dict[str, Any]:
    listed = [{name: value for name, value in row.items() if name != "names"} for row in rows]
    return {"untaken": listed, "untaken_names": rows[0]["names"] if rows else 0}


def _archive(archive: Archive) -> dict[str, Any]:
    return {
        "month": archive.month,
        "first_position": archive.first,
        "last_position": archive.last,
        "events": archive.events,
        "previous": archive.previous.hex(),
        "hash": archive.hash.hex(),
        "file": archive.file,
        "sha256": archive.sha256.hex(),
        "archived": rfc3339_microseconds(datetime.fromtimestamp(0, UTC) + timedelta(microseconds=archive.archived_at)),
    }


def _models(checkpoints: CheckpointWatcher, reading: CheckpointReading) -> dict[str, Any]:
    return {
        name: {
            "version": checkpoint.version,
            "position": checkpoint.position,
            "changed": checkpoint.changed,
            "lag_events": reading.head - checkpoint.position,
            "lag_ms": checkpoints.lag_ms((name,), reading) if checkpoint.position < reading.head else 0,
            "error": checkpoint.error,
        }
        for name, checkpoint in sorted(reading.models.items())
    }


async def _links(connection: asyncpg.Connection, reading: CheckpointReading) -> dict[str, Any]:
    return {
        row["pbx"]: {
            "link": reading.links[row["pbx"]].state,
            "since": rfc3339_microseconds(row["since"]),
            "healed": row["healed"],
            "complete": reading.links[row["pbx"]].complete,
            "address": row["address"],
            "banner": row["banner"],
            "reason": row["reason"],
            "refused": row["refused"],
            "epoch": row["epoch"],
            "last_snapshot": rfc3339_microseconds(row["last_snapshot"]),
            "last_minute": rfc3339_microseconds(row["last_minute"]),
            "failed_lists": unanswered_lists(row["failed"]),
            "refused_lists": refused_lists(row["failed"]),
        }
        for row in await connection.fetch(LINKS)
    }


ROUTES = [web.get("/v1/ledger/status", require_permission("admin", status))]
