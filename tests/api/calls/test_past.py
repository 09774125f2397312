"""Calls and statistics as of an instant: the same as were served then, and an error where that is too far to fold."""

import re
from typing import Any

import pytest
from aiohttp import ClientResponse

from api.http.views import as_of
from api.http.views.as_of import tables_in, with_tables
from projections.calls.calls import CALLS
from services.calls.listing import filter_of, past_sql
from services.projector.table import Table
from tests.support.api_client import RecordedApi

PATHS = (
    *("", "limit=7", "queue=support", "queue=support&outcome=answered", "endpoint=PJSIP/101", "outcome=no_answer"),
    *("min_talk=2&transferred=false", "transferred=true", "state=ended&pbx=rich22", "number=101&endpoint=PJSIP/100"),
)
STATISTICS = (
    "queues?from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z",
    "agents?from=2026-01-01T00:00:00Z&every=month",
)


async def body_of(reply: ClientResponse) -> Any:
    assert reply.status == 200, await reply.text()
    return await reply.json()


async def test_calls_of_the_past_are_those_served(recorded: RecordedApi) -> None:
    position = await recorded.ledger.connection.fetchval("SELECT position FROM head")
    shown = set()
    for query in PATHS:
        served = await body_of(await recorded.client.get(f"/v1/calls?{query}"))
        past = await body_of(await recorded.client.get(f"/v1/calls?{query}&as_of={position}"))
        assert past == served, query
        shown |= {query} if served["calls"] else set()
    assert len(shown) > len(PATHS) // 2


@pytest.mark.parametrize("path", STATISTICS)
async def test_statistics_of_the_past_are_those_served(recorded: RecordedApi, path: str) -> None:
    position = await recorded.ledger.connection.fetchval("SELECT position FROM head")
    served = await body_of(await recorded.client.get(f"/v1/statistics/{path}"))
    past = await body_of(await recorded.client.get(f"/v1/statistics/{path}&as_of={position}"))
    assert len(past["rows"]) == len(served["rows"]) > 0
    counted = {name for name in served["rows"][0] if not re.search("login|pause|occupancy", name)}
    for one, other in zip(past["rows"], served["rows"], strict=True):
        assert {name: one[name] for name in counted} == {name: other[name] for name in counted}


async def test_a_distant_past_of_calls_is_refused(recorded: RecordedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    position = await recorded.ledger.connection.fetchval("SELECT position FROM head")
    monkeypatch.setattr(as_of, "MAX_EVENTS", 1_000)
    for path in ("calls?", "calls/1.1?", "statistics/queues?", "statistics/agents?"):
        reply = await recorded.client.get(f"/v1/{path}as_of={position - 1}")
        assert reply.status == 400
        message = (await reply.json())["message"]
        assert re.fullmatch(r"as_of: \w+ requires folding [0-9,]+ events; the limit is 1,000; .*as-of`", message)


async def test_a_past_page_reads_no_table(recorded: RecordedApi) -> None:
    names = filter_of({"pbx": "a", "queue": "b", "outcome": "busy", "min_talk": 70.0}, 100).names
    sql = past_sql(names, is_full=True)
    tables = tables_in(sql, [Table(CALLS)])
    connection = recorded.ledger.connection
    first = 1 + max(int(number) for number in re.findall(r"\$(\d+)", sql))
    await connection.execute(f"PREPARE past AS {with_tables(sql, first, tables)}")
    nulls = ", ".join(["NULL"] * (first - 1 + sum(len(table.columns) for table in tables)))
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE past ({nulls})")
    await connection.execute("DEALLOCATE past; RESET plan_cache_mode")
    assert "Function Scan" in plan
    assert "Relation Name" not in plan
