"""The SQL of statistics equals a computation over every passage, ring and session, for any zone and period."""

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from projections.queues import figures
from projections.queues.agent_names import AgentName
from projections.queues.figures import AgentRing, AgentSum, QueuePassage, QueueSum
from projections.queues.session_rows import AgentSession
from services.statistics import agents, queues
from services.statistics.buckets import EVERY, Every, edges
from services.statistics.groups import groups
from services.statistics.period import HOUR, QUARTER, Period, span_of
from tests.support.call_tables import create_tables, put_rows

ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "America/Havana")
CHANGES = (datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
CALLS_OF_TWO_WEEKS = 300


def bucket_start(when: datetime, every: Every, zone: ZoneInfo) -> datetime:
    """Return the start of a bucket by the wall clock, as a person would find it."""
    local = when.astimezone(zone)
    if every == "hour":
        return local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    day = local.date()
    if every == "week":
        day -= timedelta(days=day.weekday())
    if every == "month":
        day = day.replace(day=1)
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def any_time(rng: random.Random, around: datetime) -> datetime:
    return around + timedelta(microseconds=rng.randrange(-7 * 86_400_000_000, 7 * 86_400_000_000))


def any_period(rng: random.Random, around: datetime) -> Period:
    since, until = sorted((any_time(rng, around), any_time(rng, around)))
    if rng.random() < 0.5:  # half of them begin and end with a quarter
        since, until = (
            when.replace(minute=15 * (when.minute // 15), second=0, microsecond=0) for when in (since, until)
        )
    every: Every = rng.choice(EVERY)
    return span_of(since, until, every, rng.choice(ZONES))


def passages(rng: random.Random, around: datetime) -> list[QueuePassage]:
    return [
        QueuePassage(
            pbx=rng.choice(("one", "two")),
            linkedid=f"{n}.1",
            ordinal=0,
            queue=rng.choice(("sales", "support")),
            entered_at=any_time(rng, around),
            outcome=rng.choice((*figures.OUTCOMES, "answered", "answered", "abandoned", None)),
            wait_seconds=rng.choice((None, rng.randrange(60), rng.randrange(60_000) / 1000)),
            talk_seconds=rng.randrange(600_000) / 1000,
            is_transferred=rng.random() < 0.2,
            ring_no_answers=rng.randrange(3),
        )
        for n in range(CALLS_OF_TWO_WEEKS)
    ]


def rings(rng: random.Random, around: datetime) -> list[AgentRing]:
    return [
        AgentRing(
            pbx=rng.choice(("one", "two")),
            linkedid=f"{n}.1",
            ordinal=0,
            queue="sales",
            agent=rng.choice(("Alice", "Bob")),
            at=any_time(rng, around),
            outcome=rng.choice(("answered", "ring_no_answer", "cancelled", None)),
            talk_seconds=rng.randrange(600_000) / 1000,
            hold_seconds=rng.randrange(60_000) / 1000,
            wrapup_seconds=rng.randrange(60),
            is_transferred=rng.random() < 0.2,
        )
        for n in range(CALLS_OF_TWO_WEEKS)
    ]


def sessions(rng: random.Random, around: datetime) -> list[AgentSession]:
    rows = []
    for number in range(60):
        start = any_time(rng, around)
        end = rng.choice((None, start + timedelta(seconds=rng.randrange(100_000))))
        kind = rng.choice(("login", "pause"))
        reason = rng.choice(("", "lunch", "office")) if kind == "pause" else ""
        agent, pbx = rng.choice(("Alice", "Bob")), rng.choice(("one", "two"))
        rows.append(AgentSession(pbx, start, agent, kind, number, start, end, "sales", reason))
    return rows


def sums_of(ones: Sequence[Any], add: Any, name: str) -> list[Any]:
    total: dict[Any, Any] = {}
    for one in ones:
        key = (one.pbx, getattr(one, name), one.at)
        total[key] = add(total[key], one) if key in total else one
    return list(total.values())


async def fetch(connection: asyncpg.Connection, sql: str, *parameters: Any) -> dict[Any, list[Any]]:
    rows = await connection.fetch(sql, *parameters)
    return {(name, pbx, bucket): some for name, pbx, bucket, some in groups(rows)}


@pytest.mark.parametrize("seed", range(4))
async def test_queues_equal_a_count_of_every_passage(connection: asyncpg.Connection, seed: int) -> None:
    rng = random.Random(seed)
    around = rng.choice(CHANGES)
    await create_tables(connection)
    rows = passages(rng, around)
    await put_rows(connection, "queue_passages", rows)
    for name, unit in (("queue_hours", figures.HOUR), ("queue_quarters", figures.QUARTER)):
        ones: list[QueueSum] = [figures.queue_sum(row, unit) for row in rows]
        await put_rows(connection, name, sums_of(ones, figures.add_queue, "queue"))
    units = set()
    for _ in range(20):
        span, sla = any_period(rng, around), rng.randrange(60)
        units.add(span.unit)
        sql = queues.sql(queues.table_of(span), by_pbx=False, by_name=False)
        by_key = await fetch(connection, sql, *queues.args(span, sla, ()))
        made = {key: queues.figures(some[0]) for key, some in by_key.items()}
        expected: dict[Any, list[QueuePassage]] = defaultdict(list)
        for row in rows:
            if span.since <= row.entered_at < span.until:
                start = bucket_start(row.entered_at, span.every, ZoneInfo(span.timezone))
                expected[row.queue, row.pbx, span.edges.index(start) + 1].append(row)
                expected[row.queue, None, 0].append(row)
        assert made == {key: naive_queue(some, sla) for key, some in expected.items()}, (seed, span)
    assert units >= {HOUR, QUARTER}


def naive_queue(rows: list[QueuePassage], sla: int) -> dict[str, Any]:
    count = {word: sum(row.outcome == word for row in rows) for word in figures.OUTCOMES}
    waits = [r.wait_seconds for r in rows if r.outcome in {"answered", "abandoned"} and r.wait_seconds is not None]
    in_sla = sum(r.outcome == "answered" and r.wait_seconds is not None and r.wait_seconds <= sla for r in rows)
    talk, answered, open_ = sum(r.talk_seconds for r in rows), count["answered"], len(rows) - count["closed"]
    return {
        "received": len(rows),
        **count,
        "waiting": sum(row.outcome is None for row in rows),
        "in_sla": in_sla,
        "in_sla_percent": pytest.approx(100 * in_sla / answered) if answered else None,
        "answered_percent": pytest.approx(100 * answered / open_) if open_ else None,
        "wait_avg_seconds": pytest.approx(sum(waits) / len(waits)) if waits else None,
        "wait_max_seconds": max(waits, default=None),
        "talk_seconds": pytest.approx(talk),
        "talk_avg_seconds": pytest.approx(talk / answered) if answered else None,
        "transferred": sum(row.is_transferred for row in rows),
        "ring_no_answers": sum(row.ring_no_answers for row in rows),
    }


@pytest.mark.parametrize("seed", range(4))
async def test_agents_equal_a_count_of_rings_and_seconds(connection: asyncpg.Connection, seed: int) -> None:
    rng = random.Random(100 + seed)
    around = rng.choice(CHANGES)
    await create_tables(connection)
    calls, times, change = rings(rng, around), sessions(rng, around), any_time(rng, around)
    await put_rows(connection, "agent_rings", calls)
    logins = [row for row in times if row.kind == "login" and rng.random() < 0.5]
    for row in logins:
        row.agent, row.queue = "1001", ""
    await put_rows(connection, "agent_sessions", times)
    both = (AgentName("one", around, "1001", 5, "Alice", change), AgentName("one", around, "1001", 9, "Bob"))
    await put_rows(connection, "agent_names", [*both])
    for row in logins:  # the PBX two has no member for this agent
        if row.pbx == "one":
            row.agent = "Alice" if row.started_at < change else "Bob"
    for name, unit in (("agent_hours", figures.HOUR), ("agent_quarters", figures.QUARTER)):
        ones: list[AgentSum] = [figures.agent_sum(row, unit) for row in calls]
        await put_rows(connection, name, sums_of(ones, figures.add_agent, "agent"))
    for _ in range(12):
        span, now = any_period(rng, around), any_time(rng, around)
        sql = agents.sql(agents.table_of(span), by_pbx=False, by_name=False)
        by_key = await fetch(connection, sql, *agents.args(span, ()), now)
        made = {key: agents.figures(some) for key, some in by_key.items()}
        expected = naive_agents(calls, times, span, now)
        by_name = agents.sql(agents.table_of(span), by_pbx=False, by_name=True)
        for name in ("Bob", "1001"):
            selection = await fetch(connection, by_name, *agents.args(span, (name,)), now)
            of_name = {key: agents.figures(some) for key, some in selection.items()}
            assert of_name == {key: one for key, one in made.items() if key[0] == name}, (seed, span)
        assert made.keys() == expected.keys(), (seed, span)
        for key, one in expected.items():
            assert made[key] == {name: pytest.approx(value) for name, value in one.items()}, (seed, span, key)


def naive_agents(calls: list[AgentRing], times: list[AgentSession], span: Period, now: datetime) -> dict[Any, Any]:
    made: dict[Any, dict[str, Any]] = {}
    zone = ZoneInfo(span.timezone)

    def of(agent: str, pbx: str | None, bucket: int) -> dict[str, Any]:
        names = ("offered", "answered", "ring_no_answers", "transferred")
        seconds = ("talk", "login", "pause", "wrapup", "hold")
        zeros = {**dict.fromkeys(names, 0), **{f"{name}_seconds": 0.0 for name in seconds}}
        return made.setdefault((agent, pbx, bucket), {**zeros, "pauses": {}})

    for ring in calls:
        if not span.since <= ring.at < span.until:
            continue
        bucket = span.edges.index(bucket_start(ring.at, span.every, zone)) + 1
        for one in (of(ring.agent, ring.pbx, bucket), of(ring.agent, None, 0)):
            one["offered"] += 1
            one["answered"] += ring.outcome == "answered"
            one["ring_no_answers"] += ring.outcome == "ring_no_answer"
            one["transferred"] += ring.is_transferred
            for name in ("talk_seconds", "hold_seconds", "wrapup_seconds"):
                one[name] += getattr(ring, name)
    last = min(span.until, now)
    for pbx in ("one", "two"):
        for agent in ("Alice", "Bob", "1001"):
            own = [row for row in times if (row.pbx, row.agent) == (pbx, agent)]
            kinds = {("login", None), ("pause", None), *(("pause", row.reason) for row in own if row.kind == "pause")}
            for kind, reason in kinds:
                some = [row for row in own if row.kind == kind and (reason is None or row.reason == reason)]
                for number, (start, end) in enumerate(zip(span.edges, span.edges[1:], strict=False), 1):
                    covered = union_seconds(some, max(start, span.since), min(end, last))
                    for one in (of(agent, pbx, number), of(agent, None, 0)) if covered else ():
                        if reason is None:
                            one[f"{kind}_seconds"] += covered
                        else:
                            one["pauses"][reason] = one["pauses"].get(reason, 0.0) + covered
    for one in made.values():
        free = one["login_seconds"] - one["pause_seconds"]
        busy = one["talk_seconds"] + one["wrapup_seconds"]
        one["occupancy_percent"] = 100 * busy / free if free > 0 else None
    return made


def union_seconds(rows: list[AgentSession], since: datetime, until: datetime) -> float:
    """Return the seconds of a period that at least one of the sessions covers."""
    spans = sorted((max(row.started_at, since), min(row.ended_at or until, until)) for row in rows)
    seconds, reached = 0.0, since
    for start, end in spans:
        if end > max(start, reached):
            seconds += (end - max(start, reached)).total_seconds()
            reached = end
    return seconds


DAYS = (
    ("Europe/Berlin", (2026, 3, 29), 23, 23),
    ("Europe/Berlin", (2026, 10, 25), 25, 25),
    ("Europe/Berlin", (2026, 7, 1), 24, 24),
    ("Asia/Kolkata", (2026, 3, 29), 24, 24),
    # Half an hour is added or left out: one bucket has an hour and a half, or half an hour.
    ("Australia/Lord_Howe", (2026, 4, 5), 24.5, 24),
    ("Australia/Lord_Howe", (2026, 10, 4), 23.5, 24),
    ("Australia/Lord_Howe", (2026, 7, 1), 24, 24),
    # The clock leaves out midnight.
    ("America/Havana", (2026, 3, 8), 23, 23),
    ("America/Havana", (2026, 11, 1), 25, 25),
)


@pytest.mark.parametrize(("name", "day", "hours", "buckets"), DAYS)
def test_a_day_has_the_hours_of_its_clock(name: str, day: tuple[int, int, int], hours: float, buckets: int) -> None:
    zone = ZoneInfo(name)
    # The day after begins at midnight everywhere; Havana's own day may begin at one o'clock.
    until = (datetime(*day, tzinfo=zone) + timedelta(days=1)).astimezone(UTC)
    since = datetime(*day, tzinfo=zone).astimezone(UTC)
    assert until - since == timedelta(hours=hours)
    assert edges(since, until, "day", zone) == [since, until]
    by_hour = edges(since, until, "hour", zone)
    assert (by_hour[0], by_hour[-1], len(by_hour) - 1) == (since, until, buckets)
    assert by_hour == sorted(set(by_hour))
    # Each bucket but the first begins where the clock shows a full hour, or where it was just changed.
    changed = [edge for edge in by_hour[1:-1] if edge.astimezone(zone).minute]
    assert len(changed) == (1 if (name, day[1]) == ("Australia/Lord_Howe", 10) else 0)


@pytest.mark.parametrize(
    ("every", "since", "until", "expected"),
    [
        ("week", (2026, 11, 25), (2026, 12, 9), [(2026, 11, 23), (2026, 11, 30), (2026, 12, 7), (2026, 12, 14)]),
        ("week", (2026, 11, 23), (2026, 11, 30), [(2026, 11, 23), (2026, 11, 30)]),
        ("week", (2026, 12, 31), (2027, 1, 1), [(2026, 12, 28), (2027, 1, 4)]),
        ("month", (2026, 1, 31), (2026, 3, 1), [(2026, 1, 1), (2026, 2, 1), (2026, 3, 1)]),
        ("month", (2026, 3, 1), (2026, 4, 1), [(2026, 3, 1), (2026, 4, 1)]),
        ("month", (2026, 12, 15), (2027, 1, 15), [(2026, 12, 1), (2027, 1, 1), (2027, 2, 1)]),
        ("month", (2028, 2, 29), (2028, 2, 29), [(2028, 2, 1), (2028, 3, 1)]),
    ],
)
def test_weeks_begin_on_monday_months_on_the_first(
    every: Every, since: tuple[int, int, int], until: tuple[int, int, int], expected: list[tuple[int, int, int]]
) -> None:
    for name in ("Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"):
        zone = ZoneInfo(name)
        first, last, *starts = (datetime(*day, tzinfo=zone).astimezone(UTC) for day in (since, until, *expected))
        assert edges(first, last, every, zone) == starts, name
