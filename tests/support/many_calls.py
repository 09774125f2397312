"""Rows of many calls, which PostgreSQL generates: no two values of a filter are spread alike.

The even ones come from outside, to one number, through one trunk, into the queue sales: half of all. The odd ones are
internal. The one in the middle has values that no other has, and so has the first hundredth. The last fifty have not
ended. So two filters may have half of all calls each, and none in common.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from projections.calls.bloom import FLAGS
from tests.support.call_tables import drop_indexes, make_indexes

START, INTERVAL = datetime(2026, 1, 1, tzinfo=UTC), timedelta(seconds=2.6)
# Calls every 2.6 seconds. `direction` and `queue` divide them by n % 2, `pbx` by n / 2 % 2.
CALLS = """
INSERT INTO calls (pbx, linkedid, tm_update, number, started_at, answered_at, ended_at, state, is_told, direction,
                   outcome, is_originated, is_transferred, talk_seconds, duration_seconds, aliases, sources, passages,
                   agent_rings, body)
SELECT pbx, n || '.1', at, n, at, at, CASE WHEN n <= $3::bigint - 50 THEN at END,
       CASE WHEN n <= $3::bigint - 50 THEN 'ended' ELSE 'talking' END, true,
       CASE WHEN n = $3::bigint / 2 THEN 'outbound' WHEN n <= $3::bigint / 100 THEN 'transit'
            WHEN n % 2 = 0 THEN 'inbound' ELSE 'internal' END,
       CASE WHEN n = $3::bigint / 2 THEN 'congestion' WHEN n <= $3::bigint / 100 THEN 'failed'
            WHEN n % 2 = 0 THEN coalesce((ARRAY['abandoned', 'timeout'])[n / 2 % 10 + 1], 'answered')
            ELSE coalesce((ARRAY['no_answer', 'pbx_only', 'cancelled'])[n / 2 % 5 + 1], 'answered') END,
       false, n % 100 = 8,
       CASE WHEN n = $3::bigint / 2 THEN 899 WHEN n % 20000 = 9 THEN 5000 WHEN n <= $3::bigint / 100 THEN 700
            WHEN n % 10 = 3 THEN 310 ELSE n % 299 END,
       n % 299, '[]', '["ami"]', '[]', '[]',
       jsonb_build_object('linkedid', n || '.1', 'pbx', pbx, 'state', 'ended', 'legs', '[]'::jsonb)
FROM (
    SELECT n, timestamptz '2026-01-01 00:00Z' + n * interval '2.6 seconds' AS at,
           CASE WHEN n = $3::bigint / 2 THEN 'lone' WHEN n <= $3::bigint / 100 THEN 'retired'
                WHEN n / 2 % 2 = 0 THEN 'pbx1' WHEN n % 3 = 0 THEN 'pbx2' ELSE 'pbx0' END AS pbx
    FROM generate_series($1::bigint, $2::bigint) n
) AS s
"""
IDS = """
INSERT INTO call_ids (pbx, id, linkedid, number)
SELECT c.pbx, v.id, c.linkedid, c.number
FROM calls c CROSS JOIN LATERAL (VALUES (c.linkedid), (c.number || '.2')) AS v (id)
WHERE c.number BETWEEN $1::bigint AND $2::bigint
"""
# The Bloom filter is that of projections/calls/bloom.py; only PostgreSQL 18 has crc32().
TAGS = """
INSERT INTO call_tags (pbx, linkedid, kind, value, started_at, number, bloom)
SELECT c.pbx, c.linkedid, v.kind, v.value, c.started_at, c.number,
       CASE WHEN c.ended_at IS NULL THEN -1 ELSE s.bits | c.flags END
FROM (
    SELECT c.*, c.number AS n,
           (1::bigint << array_position($4::text[], 'direction=' || c.direction) - 1)
           | (1::bigint << array_position($4::text[], 'outcome=' || c.outcome) - 1)
           | c.is_transferred::int * (1::bigint << array_position($4::text[], 'transferred=true') - 1)
           | (c.talk_seconds >= 60)::int * (1::bigint << array_position($4::text[], 'talk=60') - 1)
           | (c.talk_seconds >= 300)::int * (1::bigint << array_position($4::text[], 'talk=300') - 1)
           | (c.talk_seconds >= 900)::int * (1::bigint << array_position($4::text[], 'talk=900') - 1)
           | (c.talk_seconds >= 3600)::int * (1::bigint << array_position($4::text[], 'talk=3600') - 1)
           AS flags
    FROM calls c WHERE c.number BETWEEN $1::bigint AND $2::bigint
) AS c
CROSS JOIN LATERAL (SELECT ARRAY[
    CASE WHEN n % 2 = 0 THEN 'number=4930100' END,
    'number=' || CASE WHEN n % 2 = 0 THEN 4940000000 + n / 2 % 50021 ELSE 600 + n % 300 END,
    'number=' || 100 + n % 500,
    'endpoint=PJSIP/' || CASE WHEN n % 2 = 0 THEN 'trunk' ELSE (600 + n % 300)::text END,
    'endpoint=PJSIP/' || 100 + n % 500,
    CASE WHEN n % 2 = 0 THEN 'queue=sales' END,
    'queue=queue' || CASE WHEN n % 20 = 0 THEN n / 20 % 100 END,
    'agent=Agent ' || CASE WHEN n % 2 = 0 AND n / 2 % 10 > 1 THEN n % 211 END,
    'number=' || CASE WHEN n = $3::bigint / 2 THEN '999' WHEN n <= $3::bigint / 100 THEN '888' END,
    'endpoint=PJSIP/' || CASE WHEN n = $3::bigint / 2 THEN 'lone' WHEN n <= $3::bigint / 100 THEN 'retired' END,
    'queue=' || CASE WHEN n = $3::bigint / 2 THEN 'lone' WHEN n <= $3::bigint / 100 THEN 'retired' END,
    'agent=' || CASE WHEN n = $3::bigint / 2 THEN 'lone' WHEN n <= $3::bigint / 100 THEN 'retired' END
] AS texts) AS t
CROSS JOIN LATERAL (
    SELECT bit_or((1::bigint << (19 + crc % 45)::int) | (1::bigint << (19 + crc / 45 % 45)::int)) AS bits
    FROM unnest(t.texts) AS text CROSS JOIN LATERAL (SELECT crc32(text::bytea) AS crc) AS r
) AS s
CROSS JOIN LATERAL (SELECT split_part(text, '=', 1) AS kind, split_part(text, '=', 2) AS value
                    FROM unnest(t.texts) AS text WHERE text IS NOT NULL) AS v
"""


def filter_values(count: int) -> dict[str, tuple[Any, ...]]:
    """Return values of each filter: of half of the calls, of one, of none, of old ones, of some."""
    middle, early = (place_of(count // part) for part in (2, 140))
    return {
        "pbx": ("pbx1", "lone", "retired", "none"),
        "number": ("4930100", "999", "888", "101"),
        "endpoint": ("PJSIP/trunk", "PJSIP/retired", "PJSIP/103"),
        "queue": ("sales", "retired", "queue42"),
        "agent": ("Agent 7", "lone"),
        "direction": ("inbound", "internal", "transit"),
        "outcome": ("answered", "pbx_only", "congestion", "failed"),
        "state": ("ended", "talking"),
        "transferred": (True, False),
        "min_talk": (30.0, 299.0, 305.0, 899.0, 3600.0),
        "from": (middle[0],),
        "cursor": (middle, early),
    }


def place_of(number: int) -> tuple[datetime, int]:
    """Return the start and the number of a call."""
    return START + number * INTERVAL, number


async def generate_calls(connection: asyncpg.Connection, count: int, step: int = 100_000) -> None:
    """Fill the empty tables `calls`, `call_ids` and `call_tags` with calls of short bodies, the newest last."""
    names = ("calls", "call_ids", "call_tags")
    await drop_indexes(connection, *names)
    await connection.execute("CREATE INDEX calls_part ON calls USING brin (number) WITH (pages_per_range = 16)")
    for start in range(1, count + 1, step):
        end = min(start + step - 1, count)
        await connection.execute(CALLS, start, end, count)
        await connection.execute("SELECT brin_summarize_new_values('calls_part')")
        await connection.execute(IDS, start, end)
        await connection.execute(TAGS, start, end, count, list(FLAGS))
    await connection.execute("DROP INDEX calls_part")
    await make_indexes(connection, *names)
