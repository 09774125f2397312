"""GET /v1/statistics/agents: the figures of agents: their calls from queues, their logins and pauses."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from services.statistics.gaps import GAPS
from services.statistics.period import HOUR, QUARTER, Period
from services.statistics.queues import ratio

FIGURES = (
    *("offered", "answered", "ring_no_answers", "transferred", "talk_seconds", "login_seconds", "pause_seconds"),
    *("wrapup_seconds", "hold_seconds", "pauses", "occupancy_percent"),
)
TABLES = {HOUR: "agent_hours", QUARTER: "agent_quarters", None: "agent_quarters"}

# Sessions are cut at the edges of buckets; what lasts counts until now. Overlapping ones of an agent count once, pauses
# once altogether (reason NULL) and once for each reason. A login of app_agent_pool has the agent's id. It counts for
# the name that the agent had then. The other CTEs are those of the queues.
SQL = """
WITH facts AS (
    SELECT s.pbx, s.agent AS name, s.at, s.offered, s.answered, s.ring_no_answers, s.transferred, s.talk_milliseconds,
           s.hold_milliseconds, s.wrapup_milliseconds
    FROM {sums} s
    WHERE s.at >= {sums_from}::timestamptz AND s.at < {sums_to}::timestamptz{of_calls}
    UNION ALL
    SELECT r.pbx, r.agent, r.at, 1, (r.outcome IS NOT DISTINCT FROM 'answered')::int,
           (r.outcome IS NOT DISTINCT FROM 'ring_no_answer')::int, r.is_transferred::int,
           round(r.talk_seconds * 1000)::bigint, round(r.hold_seconds * 1000)::bigint,
           round(r.wrapup_seconds * 1000)::bigint
    FROM agent_rings r
    WHERE (r.at >= {since}::timestamptz AND r.at < {sums_from}::timestamptz
           OR r.at >= {sums_to}::timestamptz AND r.at < {until}::timestamptz){of_calls}
), sessions AS (
    SELECT s.pbx, coalesce(n.name, s.agent) AS name, s.kind, s.reason, s.started_at, s.ended_at
    FROM agent_sessions s
    LEFT JOIN LATERAL (
        SELECT name FROM agent_names n
        WHERE s.kind = 'login' AND s.queue = '' AND n.pbx = s.pbx AND n.agent = s.agent
          AND (n.ended_at IS NULL OR n.ended_at > s.started_at)
        ORDER BY n.number LIMIT 1
    ) AS n ON true
    WHERE tstzrange(s.started_at, s.ended_at)
          && tstzrange({since}::timestamptz, greatest({since}::timestamptz,
                                                      least({until}::timestamptz, {now}::timestamptz))){of_sessions}
), merged AS (
    SELECT pbx, name, kind, CASE WHEN grouping(reason) = 0 THEN reason END AS reason,
           range_agg(tstzrange(greatest(started_at, {since}::timestamptz),
                               least(ended_at, {until}::timestamptz, {now}::timestamptz))) AS spans
    FROM sessions
    WHERE true{of_names}
    GROUP BY GROUPING SETS ((pbx, name, kind), (pbx, name, kind, reason))
    HAVING grouping(reason) = 1 OR kind = 'pause'
), cut AS (
    SELECT name, pbx, kind, reason, bucket,
           extract(epoch FROM least(upper(span), ({edges}::timestamptz[])[bucket + 1])
                              - greatest(lower(span), ({edges}::timestamptz[])[bucket])) AS seconds
    FROM merged CROSS JOIN LATERAL unnest(spans) AS span
    CROSS JOIN LATERAL generate_series(width_bucket(lower(span), {edges}::timestamptz[]),
                                       width_bucket(upper(span) - interval '1 microsecond', {edges}::timestamptz[])
                       ) AS bucket
), figures AS (
    SELECT name, pbx, coalesce(bucket, 0) AS bucket, 'calls' AS kind, NULL AS reason, sum(offered)::bigint AS offered,
           sum(answered)::bigint AS answered, sum(ring_no_answers)::bigint AS ring_no_answers,
           sum(transferred)::bigint AS transferred, sum(talk_milliseconds)::bigint AS talk_milliseconds,
           sum(hold_milliseconds)::bigint AS hold_milliseconds,
           sum(wrapup_milliseconds)::bigint AS wrapup_milliseconds, NULL::float8 AS seconds
    FROM (SELECT facts.*, width_bucket(at, {edges}::timestamptz[]) AS bucket FROM facts) AS f
    GROUP BY GROUPING SETS ((name, pbx, bucket), (name))
    UNION ALL
    SELECT name, pbx, coalesce(bucket, 0), kind, reason, NULL, NULL, NULL, NULL, NULL, NULL, NULL, sum(seconds)::float8
    FROM cut GROUP BY GROUPING SETS ((name, pbx, bucket, kind, reason), (name, kind, reason))
), admitted AS ({gaps})
SELECT figures.*, CASE WHEN row_number() OVER (ORDER BY name, pbx, bucket) = 1 THEN gaps END AS gaps
FROM admitted LEFT JOIN figures ON true
ORDER BY name, pbx, bucket
"""
OF_NAMES = " AND (agent{names} OR agent = ANY (ARRAY(SELECT agent FROM agent_names WHERE name{names})))"
"""Sessions of agents who have one of the names, also at another time: so an index finds them."""
FIXED = ("since", "until", "sums_from", "sums_to", "edges")


@lru_cache
def sql(table: str, *, by_pbx: bool, by_name: bool) -> str:
    """Return the SQL. Its parameters are the PBX if given, those of `FIXED`, the names if given, and the time."""
    order = (*(("pbx",) if by_pbx else ()), *FIXED, *(("names",) if by_name else ()), "now")
    place = {name: f"${number}" for number, name in enumerate(order, 1)}
    pbx = f" AND pbx = {place['pbx']}::text" if by_pbx else ""
    names = f" = ANY ({place['names']}::text[])" if by_name else ""
    return SQL.format(
        sums=table,
        of_calls=pbx + (f" AND agent{names}" if by_name else ""),
        of_sessions=pbx + (OF_NAMES.format(names=names) if by_name else ""),
        of_names=f" AND name{names}" if by_name else "",
        gaps=GAPS.format(of_gaps=pbx, **place),
        **place,
    )


def args(period: Period, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the parameters of the SQL but for the PBX and the time."""
    fixed = (period.since, period.until, period.sums_from, period.sums_to, period.edges)
    return (*fixed, names) if names else fixed


def table_of(period: Period) -> str:
    """Return the table whose sums the buckets are made of."""
    return TABLES[period.unit]


def figures(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of one agent and bucket, from the rows of calls, logins and pauses."""
    calls: Mapping[str, Any] = {}
    login = pause = 0.0
    pauses: dict[str, float] = {}
    for row in rows:
        if row["kind"] == "calls":
            calls = row
        elif row["kind"] == "login":
            login = row["seconds"]
        elif row["reason"] is None:
            pause = row["seconds"]
        else:
            pauses[row["reason"]] = row["seconds"]
    talk, wrapup, hold = (calls[f"{name}_milliseconds"] / 1000 if calls else 0.0 for name in ("talk", "wrapup", "hold"))
    return {
        **{n: calls[n] if calls else 0 for n in ("offered", "answered", "ring_no_answers", "transferred")},
        "talk_seconds": talk,
        "login_seconds": login,
        "pause_seconds": pause,
        "wrapup_seconds": wrapup,
        "hold_seconds": hold,
        "pauses": dict(sorted(pauses.items())),
        "occupancy_percent": ratio(100 * (talk + wrapup), max(0.0, login - pause)),
    }
