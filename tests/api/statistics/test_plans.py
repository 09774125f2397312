"""A month of statistics reads its sums, and of the passages only those of the hours that it cuts."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from projections.queues.agent_names import AgentName
from projections.queues.session_rows import AgentSession
from services.database.connection import connect
from services.log.times import parse_rfc3339
from services.statistics import agents, queues
from services.statistics.buckets import Every
from services.statistics.period import span_of
from tests.support.call_tables import create_tables, make_indexes, put_rows
from tests.support.database import READ_MODELS, cloned
from tests.support.many_passages import generate_passages, generate_rings
from tests.support.plans import plan

PASSAGES = 100_000
HOURS_OF_MONTH = 31 * 24
ROWS_OF_DAY = {"queues": (24 * 100, PASSAGES / 31), "agents": (24 * 424, 2 * PASSAGES / 31)}
"""The most sums of hours, and the passages or rings, of one day."""


@pytest.fixture(scope="module")
async def filled(postgresql_url: str) -> AsyncIterator[str]:
    async with cloned(postgresql_url, READ_MODELS) as url:
        connection = await connect(url, search_path="model, ledger")
        await create_tables(connection)
        await generate_passages(connection, PASSAGES)
        await generate_rings(connection)
        await connection.close()
        yield url


def rows_of(nodes: list[dict[str, Any]], table: str) -> float:
    """Return how many rows of a table a plan read."""
    scans = [node for node in nodes if node.get("Relation Name") == table]
    read: float = sum(
        (one["Actual Rows"] + one.get("Rows Removed by Filter", 0)) * one["Actual Loops"] for one in scans
    )
    return read


@pytest.mark.parametrize(
    ("ends", "every", "timezone", "table"),
    [
        (("2026-01-01T00:00:00+01:00", "2026-02-01T00:00:00+01:00"), "day", "Europe/Berlin", "queue_hours"),
        (("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"), "hour", "UTC", "queue_hours"),
        (("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"), "day", "Asia/Kathmandu", "queue_quarters"),
        (("2026-01-01T10:20:30Z", "2026-01-30T20:10:05Z"), "week", "UTC", "queue_hours"),
    ],
)
async def test_passages_are_read_at_the_ends_only(
    filled: str, ends: tuple[str, str], every: Every, timezone: str, table: str
) -> None:
    span = span_of(parse_rfc3339(ends[0]), parse_rfc3339(ends[1]), every, timezone)
    assert queues.table_of(span) == table
    nodes = await plan(filled, queues.sql(table, by_pbx=False, by_name=False), queues.args(span, 20, ()))
    passages_of_two_hours = 2 * PASSAGES / HOURS_OF_MONTH
    assert rows_of(nodes, "queue_passages") <= passages_of_two_hours + 2
    assert rows_of(nodes, table) > 0


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize("kind", ["queues", "agents"])
async def test_a_day_reads_the_sums_of_a_day(filled: str, kind: str, timezone: str) -> None:
    since = parse_rfc3339("2026-01-10T00:07:00Z")
    span = span_of(since, since + timedelta(days=1), "hour", timezone)
    if kind == "queues":
        table, singles = queues.table_of(span), "queue_passages"
        sql, parameters = queues.sql(table, by_pbx=False, by_name=False), queues.args(span, 20, ())
    else:
        table, singles = agents.table_of(span), "agent_rings"
        sql, parameters = agents.sql(table, by_pbx=False, by_name=False), (*agents.args(span, ()), span.until)
    nodes = await plan(filled, sql, parameters)
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan" and node["Relation Name"] in {table, singles}]
    counted, whole = ROWS_OF_DAY[kind]
    assert 0 < rows_of(nodes, table) <= counted * (1 if table.endswith("hours") else 4)
    assert 0 < rows_of(nodes, singles) <= whole / 24 * 1.1


async def test_sessions_are_found_by_their_time(url: str) -> None:
    connection = await connect(url, search_path="model, ledger")
    await create_tables(connection)
    since = parse_rfc3339("2026-01-01T00:00:00Z")
    rows = [
        AgentSession("pbx", since, f"Agent {n % 50}", "login", n, start, start + timedelta(hours=1))
        for n in range(20_000)
        for start in [since + timedelta(hours=n)]
    ]
    await put_rows(connection, "agent_sessions", rows)
    names = [AgentName("pbx", since, f"Agent {n}", n, f"Name {n}") for n in range(5000)]
    await put_rows(connection, "agent_names", names)
    await make_indexes(connection, "agent_sessions", "agent_names")
    await connection.close()
    span = span_of(since, since + timedelta(days=2), "day", "UTC")
    sql = agents.sql(agents.table_of(span), by_pbx=False, by_name=False)
    nodes = await plan(url, sql, (*agents.args(span, ()), since + timedelta(days=1000)))
    assert 0 < rows_of(nodes, "agent_sessions") <= 100
    assert 0 < rows_of(nodes, "agent_names") <= 100
    year = span_of(since, since + timedelta(days=800), "month", "UTC")
    sql = agents.sql(agents.table_of(year), by_pbx=False, by_name=True)
    nodes = await plan(url, sql, (*agents.args(year, ("Name 7",)), since + timedelta(days=1000)))
    assert 0 < rows_of(nodes, "agent_sessions") <= 1000, "those of one agent of 50"
