"""Rows of a month of passages and their sums, which PostgreSQL generates."""

import asyncpg

from tests.support.call_tables import drop_indexes, make_indexes

# A month of 100 queues, with half of all callers in one of them: of ten callers one gives up, one meets a full queue,
# and one is transferred. Waits are whole seconds, as Asterisk's HoldTime is.
PASSAGES = """
INSERT INTO queue_passages (pbx, linkedid, ordinal, queue, entered_at, left_at, answered_at, wait_seconds, talk_seconds,
                            outcome, agent, interface, is_transferred, ring_no_answers)
SELECT 'pbx', n || '.1', 0, 'queue' || CASE WHEN n % 2 = 0 THEN 0 ELSE n / 2 % 100 END, at, at, at,
       n * 7919 % 120, n % 300,
       CASE n / 100 % 10 WHEN 0 THEN 'abandoned' WHEN 1 THEN 'full' ELSE 'answered' END, 'Agent ' || n % 211, NULL,
       n / 100 % 10 = 2, n % 3
FROM (SELECT n, timestamptz '2026-01-01 00:00Z' + n * (interval '31 days' / $3::bigint) AS at
      FROM generate_series($1::bigint, $2::bigint) n) AS s
"""
SUMS = """
INSERT INTO {table} (pbx, queue, at, answered, abandoned, timeout, exit_key, left_empty, join_empty, queue_full, closed,
                     withdrawn, unknown, waiting, waits, wait_milliseconds, longest_milliseconds, talk_milliseconds,
                     transferred, ring_no_answers, answered_waits, answered_counts, abandoned_waits, abandoned_counts)
SELECT pbx, queue, at, coalesce(sum(n) FILTER (WHERE outcome = 'answered'), 0),
       coalesce(sum(n) FILTER (WHERE outcome = 'abandoned'), 0), 0, 0, 0, 0,
       coalesce(sum(n) FILTER (WHERE outcome = 'full'), 0), 0, 0, 0, 0,
       coalesce(sum(n) FILTER (WHERE outcome <> 'full'), 0),
       coalesce(sum(n * wait) FILTER (WHERE outcome <> 'full'), 0),
       coalesce(max(wait) FILTER (WHERE outcome <> 'full'), 0), sum(talk), sum(transferred), sum(ring_no_answers),
       coalesce(array_agg(wait ORDER BY wait) FILTER (WHERE outcome = 'answered'), '{{}}')::text,
       coalesce(array_agg(no_longer ORDER BY wait) FILTER (WHERE outcome = 'answered'), '{{}}')::text,
       coalesce(array_agg(wait ORDER BY wait) FILTER (WHERE outcome = 'abandoned'), '{{}}')::text,
       coalesce(array_agg(no_longer ORDER BY wait) FILTER (WHERE outcome = 'abandoned'), '{{}}')::text
FROM (
    SELECT pbx, queue, date_bin('{unit}', entered_at, 'epoch') AS at, outcome, (wait_seconds * 1000)::int AS wait,
           count(*) AS n, sum(talk_seconds * 1000) AS talk, count(*) FILTER (WHERE is_transferred) AS transferred,
           sum(ring_no_answers) AS ring_no_answers,
           sum(count(*)) OVER (PARTITION BY pbx, queue, date_bin('{unit}', entered_at, 'epoch'), outcome
                               ORDER BY wait_seconds) AS no_longer
    FROM queue_passages GROUP BY pbx, queue, date_bin('{unit}', entered_at, 'epoch'), outcome, wait_seconds
) AS w
GROUP BY pbx, queue, at
"""
# Each passage rings two agents; the second one answers, unless the caller gives up.
RINGS = """
INSERT INTO agent_rings (pbx, linkedid, ordinal, queue, agent, at, outcome, interface, is_transferred, talk_seconds,
                         hold_seconds, wrapup_seconds)
SELECT pbx, linkedid, ordinal, queue, coalesce(agent, 'Agent 0') || CASE WHEN ordinal = 0 THEN ' a' ELSE '' END,
       entered_at, CASE WHEN ordinal = 0 THEN 'ring_no_answer' WHEN outcome = 'answered' THEN 'answered' END, NULL,
       is_transferred, CASE WHEN ordinal = 1 THEN talk_seconds ELSE 0 END, 0, ordinal * 5
FROM (SELECT pbx, linkedid, queue, agent, entered_at, outcome, is_transferred, talk_seconds FROM queue_passages) AS p
CROSS JOIN generate_series(0, 1) AS ordinal
"""
AGENT_SUMS = """
INSERT INTO {table} (pbx, agent, at, offered, answered, ring_no_answers, transferred, talk_milliseconds,
                     hold_milliseconds, wrapup_milliseconds)
SELECT pbx, agent, date_bin('{unit}', at, 'epoch'), count(*), count(*) FILTER (WHERE outcome = 'answered'),
       count(*) FILTER (WHERE outcome = 'ring_no_answer'), count(*) FILTER (WHERE is_transferred),
       sum(talk_seconds * 1000), sum(hold_seconds * 1000), sum(wrapup_seconds * 1000)
FROM agent_rings GROUP BY 1, 2, 3
"""


async def generate_rings(connection: asyncpg.Connection) -> None:
    """Fill the empty table `agent_rings` and its sums with the rings of the passages."""
    names = ("agent_rings", "agent_quarters", "agent_hours")
    await drop_indexes(connection, *names)
    await connection.execute(RINGS)
    for table, unit in (("agent_quarters", "15 minutes"), ("agent_hours", "1 hour")):
        await connection.execute(AGENT_SUMS.format(table=table, unit=unit))
    await make_indexes(connection, *names)


async def generate_passages(connection: asyncpg.Connection, count: int, step: int = 100_000) -> None:
    """Fill the empty table `queue_passages` and its sums with a month of 100 queues."""
    names = ("queue_passages", "queue_quarters", "queue_hours")
    await drop_indexes(connection, *names)
    for start in range(1, count + 1, step):
        await connection.execute(PASSAGES, start, min(start + step - 1, count), count)
    for table, unit in (("queue_quarters", "15 minutes"), ("queue_hours", "1 hour")):
        await connection.execute(SUMS.format(table=table, unit=unit))
    await make_indexes(connection, *names)
