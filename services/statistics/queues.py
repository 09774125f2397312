"""GET /v1/statistics/queues: the figures of queues.

Sums of hours, or of quarters where a bucket begins or ends within an hour of UTC, make up the period. Its ends within
an hour are counted passage by passage, so the figures of any period are exact.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from services.statistics.gaps import GAPS
from services.statistics.period import HOUR, QUARTER, Period

COUNTS = (
    *("answered", "abandoned", "timeout", "exit_key", "left_empty", "join_empty", "queue_full", "closed"),
    *("withdrawn", "unknown", "waiting"),
)
FIGURES = (
    *("received", "answered", "abandoned", "timeout", "exit_key", "left_empty", "join_empty", "full", "closed"),
    *("withdrawn", "unknown", "waiting", "in_sla", "in_sla_percent", "answered_percent", "wait_avg_seconds"),
    *("wait_max_seconds", "talk_seconds", "talk_avg_seconds", "transferred", "ring_no_answers"),
)
SUMS = (
    *(*COUNTS, "in_sla", "waits", "wait_milliseconds", "longest_milliseconds", "talk_milliseconds", "transferred"),
    "ring_no_answers",
)
NOTHING = dict.fromkeys(SUMS, 0)
TABLES = {HOUR: "queue_hours", QUARTER: "queue_quarters", None: "queue_quarters"}

# A bucket counts from 1; 0 is the total of a name. `gaps` is in the first row, which exists without any figure too.
SQL = """
WITH facts AS (
    SELECT s.pbx, s.queue AS name, s.at, s.answered, s.abandoned, s.timeout, s.exit_key, s.left_empty, s.join_empty,
           s.queue_full, s.closed, s.withdrawn, s.unknown, s.waiting,
           coalesce(
               (s.answered_counts::bigint[])[width_bucket({sla}::bigint, s.answered_waits::bigint[])], 0
           ) AS in_sla,
           s.waits, s.wait_milliseconds, s.longest_milliseconds, s.talk_milliseconds, s.transferred, s.ring_no_answers
    FROM {sums} s
    WHERE s.at >= {sums_from}::timestamptz AND s.at < {sums_to}::timestamptz{of_sums}
    UNION ALL
    SELECT p.pbx, p.queue, p.entered_at, (o = 'answered')::int, (o = 'abandoned')::int, (o = 'timeout')::int,
           (o = 'exit_key')::int, (o = 'left_empty')::int, (o = 'join_empty')::int, (o = 'full')::int,
           (o = 'closed')::int, (o = 'withdrawn')::int,
           (o <> ALL ('{{answered,abandoned,timeout,exit_key,left_empty,join_empty,full,closed,withdrawn,
                         waiting}}'::text[]))::int,
           (o = 'waiting')::int, (o = 'answered' AND w IS NOT NULL AND w <= {sla}::bigint)::int,
           (o IN ('answered', 'abandoned') AND w IS NOT NULL)::int,
           CASE WHEN o IN ('answered', 'abandoned') THEN coalesce(w, 0) ELSE 0 END,
           CASE WHEN o IN ('answered', 'abandoned') THEN coalesce(w, 0) ELSE 0 END,
           round(p.talk_seconds * 1000)::bigint, p.is_transferred::int, p.ring_no_answers
    FROM queue_passages p
    CROSS JOIN LATERAL (SELECT coalesce(p.outcome, 'waiting') AS o, round(p.wait_seconds * 1000)::bigint AS w) AS l
    WHERE (p.entered_at >= {since}::timestamptz AND p.entered_at < {sums_from}::timestamptz
           OR p.entered_at >= {sums_to}::timestamptz AND p.entered_at < {until}::timestamptz){of_passages}
), figures AS (
    SELECT name, pbx, coalesce(bucket, 0) AS bucket, sum(answered)::bigint AS answered,
           sum(abandoned)::bigint AS abandoned, sum(timeout)::bigint AS timeout, sum(exit_key)::bigint AS exit_key,
           sum(left_empty)::bigint AS left_empty, sum(join_empty)::bigint AS join_empty,
           sum(queue_full)::bigint AS queue_full, sum(closed)::bigint AS closed, sum(withdrawn)::bigint AS withdrawn,
           sum(unknown)::bigint AS unknown, sum(waiting)::bigint AS waiting, sum(in_sla)::bigint AS in_sla,
           sum(waits)::bigint AS waits, sum(wait_milliseconds)::bigint AS wait_milliseconds,
           max(longest_milliseconds)::bigint AS longest_milliseconds,
           sum(talk_milliseconds)::bigint AS talk_milliseconds, sum(transferred)::bigint AS transferred,
           sum(ring_no_answers)::bigint AS ring_no_answers
    FROM (SELECT facts.*, width_bucket(at, {edges}::timestamptz[]) AS bucket FROM facts) AS f
    GROUP BY GROUPING SETS ((name, pbx, bucket), (name))
), admitted AS ({gaps})
SELECT figures.*, CASE WHEN row_number() OVER (ORDER BY name, pbx, bucket) = 1 THEN gaps END AS gaps
FROM admitted LEFT JOIN figures ON true
ORDER BY name, pbx, bucket
"""
FIXED = ("since", "until", "sums_from", "sums_to", "edges", "sla")


@lru_cache
def sql(table: str, *, by_pbx: bool, by_name: bool) -> str:
    """Return the SQL. Its parameters are the PBX if given, those of `FIXED`, and the names if given."""
    order = (*(("pbx",) if by_pbx else ()), *FIXED, *(("names",) if by_name else ()))
    place = {name: f"${number}" for number, name in enumerate(order, 1)}
    pbx = f" AND pbx = {place['pbx']}::text" if by_pbx else ""
    names = f" AND queue = ANY ({place['names']}::text[])" if by_name else ""
    gaps = GAPS.format(of_gaps=pbx, **place)
    return SQL.format(sums=table, of_sums=pbx + names, of_passages=pbx + names, gaps=gaps, **place)


def args(period: Period, sla: int, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the parameters of the SQL but for the PBX."""
    fixed = (period.since, period.until, period.sums_from, period.sums_to, period.edges[:-1], sla * 1000)
    return (*fixed, names) if names else fixed


def table_of(period: Period) -> str:
    """Return the table whose sums the buckets are made of."""
    return TABLES[period.unit]


def figures(row: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the figures of a row of sums; None is a name without any passage."""
    if row is None:
        row = NOTHING
    received = sum([row[name] for name in COUNTS])
    answered, waits, talked = row["answered"], row["waits"], row["talk_milliseconds"] / 1000
    return {
        "received": received,
        "answered": answered,
        "abandoned": row["abandoned"],
        "timeout": row["timeout"],
        "exit_key": row["exit_key"],
        "left_empty": row["left_empty"],
        "join_empty": row["join_empty"],
        "full": row["queue_full"],
        "closed": row["closed"],
        "withdrawn": row["withdrawn"],
        "unknown": row["unknown"],
        "waiting": row["waiting"],
        "in_sla": row["in_sla"],
        "in_sla_percent": ratio(100 * row["in_sla"], answered),
        "answered_percent": ratio(100 * answered, received - row["closed"]),
        "wait_avg_seconds": ratio(row["wait_milliseconds"] / 1000, waits),
        "wait_max_seconds": row["longest_milliseconds"] / 1000 if waits else None,
        "talk_seconds": talked,
        "talk_avg_seconds": ratio(talked, answered),
        "transferred": row["transferred"],
        "ring_no_answers": row["ring_no_answers"],
    }


def ratio(part: float, whole: float) -> float | None:
    """Return a quotient with at most six decimals, None of nothing."""
    return round(part / whole, 6) if whole else None
