"""The tables of calls and of their figures, filled with rows and by SQL instead of events."""

from collections.abc import Iterator
from typing import Any

import asyncpg

from projections.calls.calls import CALLS
from projections.queues.agent_sessions import AGENT_SESSIONS
from services.projector.table import RowTable, Table

MODELS = {model.name: model for model in (CALLS, AGENT_SESSIONS)}


def _tables() -> Iterator[tuple[RowTable, tuple[str, ...]]]:
    for model in MODELS.values():
        table = Table(model, "model")
        yield table, model.indexes
        yield from zip(table.derived, [derived.indexes for derived in model.derived], strict=True)


TABLES = {table.bare_name: (table, indexes) for table, indexes in _tables()}

CHECKPOINT = """
INSERT INTO ledger.checkpoint (place, model, version, position, changed)
SELECT 'model', $1, $2, position, position FROM ledger.head
ON CONFLICT DO NOTHING
"""

# Calls every 2.6 seconds, of three PBXes: every second one is of a queue, one of a hundred is transferred.
CALL_ROWS = """
INSERT INTO calls (pbx, linkedid, tm_update, number, started_at, answered_at, ended_at, state, is_told, direction,
                   outcome, is_originated, is_transferred, talk_seconds, duration_seconds, aliases, sources, passages,
                   agent_rings, body)
SELECT 'pbx' || n % 3, n || '.1', at, n, at, at, at, 'ended', true,
       CASE WHEN n % 1000 = 7 THEN 'transit' WHEN n % 3 = 0 THEN 'inbound' ELSE 'internal' END,
       CASE WHEN n % 5000 = 7 THEN 'congestion' WHEN n % 4 = 0 THEN 'no_answer' ELSE 'answered' END,
       false, n % 100 = 7, CASE WHEN n % 20000 = 9 THEN 5000 ELSE n % 300 END, n % 300, '[]', '["ami"]', '[]', '[]',
       jsonb_build_object('linkedid', n || '.1', 'pbx', 'pbx' || n % 3, 'state', 'ended', 'legs', '[]'::jsonb)
FROM (SELECT n, timestamptz '2026-01-01 00:00Z' + n * interval '2.6 seconds' AS at
      FROM generate_series($1::bigint, $2::bigint) n) AS s
"""
IDS = """
INSERT INTO call_ids (pbx, id, linkedid, number)
SELECT 'pbx' || n % 3, id, n || '.1', n
FROM generate_series($1::bigint, $2::bigint) n CROSS JOIN LATERAL (VALUES (n || '.1'), (n || '.2')) AS v (id)
"""
TAGS = """
INSERT INTO call_tags (pbx, linkedid, kind, value, started_at, number)
SELECT 'pbx' || n % 3, n || '.1', kind, value, timestamptz '2026-01-01 00:00Z' + n * interval '2.6 seconds', n
FROM generate_series($1::bigint, $2::bigint) n
CROSS JOIN LATERAL (VALUES ('number', (4930000000 + n % 50021)::text), ('number', (100 + n % 500)::text),
                           ('endpoint', 'PJSIP/trunk'), ('endpoint', 'PJSIP/' || 100 + n % 500),
                           ('queue', CASE WHEN n % 2 = 0 THEN 'queue' || n % 100 END),
                           ('agent', CASE WHEN n % 2 = 0 THEN 'Agent ' || n % 211 END)) AS v (kind, value)
WHERE value IS NOT NULL
"""


SECONDARY = """
SELECT indexname FROM pg_indexes
WHERE schemaname = 'model' AND tablename = ANY ($1::text[]) AND indexname NOT LIKE '%\\_pkey'
"""
# A month of 100 queues: of ten callers one gives up, one meets a full queue, and one is transferred.
PASSAGES = """
INSERT INTO queue_passages (pbx, linkedid, ordinal, queue, entered_at, left_at, answered_at, wait_seconds, talk_seconds,
                            outcome, agent, interface, is_transferred, ring_no_answers)
SELECT 'pbx', n || '.1', 0, 'queue' || n % 100, at, at, at, n * 7919 % 120, n % 300,
       CASE n / 100 % 10 WHEN 0 THEN 'abandoned' WHEN 1 THEN 'full' ELSE 'answered' END, 'Agent ' || n % 211, NULL,
       n / 100 % 10 = 2, n % 3
FROM (SELECT n, timestamptz '2026-01-01 00:00Z' + n * (interval '31 days' / $3::bigint) AS at
      FROM generate_series($1::bigint, $2::bigint) n) AS s
"""
SUMS = """
INSERT INTO {table} (pbx, queue, at, answered, abandoned, timeout, exit_key, left_empty, join_empty, queue_full, closed,
                     withdrawn, unknown, waiting, waits, wait_milliseconds, longest_milliseconds, talk_milliseconds,
                     transferred, ring_no_answers, answered_waits, abandoned_waits)
SELECT pbx, queue, date_bin('{unit}', entered_at, 'epoch'), count(*) FILTER (WHERE outcome = 'answered'),
       count(*) FILTER (WHERE outcome = 'abandoned'), 0, 0, 0, 0, count(*) FILTER (WHERE outcome = 'full'), 0, 0, 0, 0,
       count(*) FILTER (WHERE outcome <> 'full'),
       coalesce(sum(wait_seconds * 1000) FILTER (WHERE outcome <> 'full'), 0),
       coalesce(max(wait_seconds * 1000) FILTER (WHERE outcome <> 'full'), 0), sum(talk_seconds * 1000),
       count(*) FILTER (WHERE is_transferred), sum(ring_no_answers),
       coalesce(array_agg((wait_seconds * 1000)::int ORDER BY wait_seconds) FILTER (WHERE outcome = 'answered'),
                '{{}}')::text,
       coalesce(array_agg((wait_seconds * 1000)::int ORDER BY wait_seconds) FILTER (WHERE outcome = 'abandoned'),
                '{{}}')::text
FROM queue_passages GROUP BY 1, 2, 3
"""


async def create_tables(connection: asyncpg.Connection, *models: str) -> None:
    """Create the tables of the models, of both if none is named, and let the API serve them."""
    for name in models or MODELS:
        table, _ = TABLES[name]
        if await connection.fetchval("SELECT to_regclass($1)", table.name) is None:
            await connection.execute(table.create)
        await connection.execute(CHECKPOINT, name, MODELS[name].version)


async def put_rows(connection: asyncpg.Connection, name: str, rows: list[Any]) -> None:
    """Write rows of a table."""
    table, _ = TABLES[name]
    await connection.execute(table.upsert, *table.arrays(rows))


async def generate_calls(connection: asyncpg.Connection, count: int, step: int = 100_000) -> None:
    """Fill `calls`, `call_ids` and `call_tags` with calls of short bodies, the newest last."""
    names = ("calls", "call_ids", "call_tags")
    await drop_indexes(connection, *names)
    for start in range(1, count + 1, step):
        for sql in (CALL_ROWS, IDS, TAGS):
            await connection.execute(sql, start, min(start + step - 1, count))
    await make_indexes(connection, *names)


async def generate_passages(connection: asyncpg.Connection, count: int, step: int = 100_000) -> None:
    """Fill `queue_passages` and its sums with a month of 100 queues."""
    names = ("queue_passages", "queue_quarters", "queue_hours")
    await drop_indexes(connection, *names)
    for start in range(1, count + 1, step):
        await connection.execute(PASSAGES, start, min(start + step - 1, count), count)
    for table, unit in (("queue_quarters", "15 minutes"), ("queue_hours", "1 hour")):
        await connection.execute(SUMS.format(table=table, unit=unit))
    await make_indexes(connection, *names)


async def drop_indexes(connection: asyncpg.Connection, *names: str) -> None:
    """Drop the secondary indexes: rows are written faster without them."""
    for row in await connection.fetch(SECONDARY, list(names)):
        await connection.execute(f"DROP INDEX model.{row['indexname']}")


async def make_indexes(connection: asyncpg.Connection, *names: str) -> None:
    """Create the secondary indexes that are missing, and let the planner know the rows."""
    for name in names:
        table, indexes = TABLES[name]
        for index in indexes:
            text = index.format(table=table.name, name=name)
            await connection.execute(text.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS"))
    await connection.execute(f"VACUUM ANALYZE {', '.join(names)}")
