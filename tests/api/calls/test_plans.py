"""Each filter of a list of calls reads an index, and little more than a page: EXPLAIN over 100,000 calls."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.calls.listing import list_sql
from services.calls.one import OF_ID, OF_PBX_AND_ID
from services.database.connection import connect
from services.log.times import parse_rfc3339
from tests.support.call_tables import create_tables, generate_calls
from tests.support.database import SCHEMA, cloned
from tests.support.plans import plan

CALLS = 100_000
PAGE = 101
MIDDLE = parse_rfc3339("2026-01-02T12:00:00Z")
AFTER = ("cursor", MIDDLE, 50_000)

FILTERS: tuple[tuple[tuple[str, ...], tuple[Any, ...], int], ...] = (
    ((), (), 1),
    (("pbx",), ("pbx1",), 1),
    (("pbx",), ("none",), 1),
    (("number",), ("103",), 4),
    (("number",), ("no such",), 1),
    (("endpoint",), ("PJSIP/trunk",), 1),
    (("queue",), ("queue42",), 10),
    (("agent",), ("Agent 7",), 1),
    (("direction",), ("transit",), 1),
    (("outcome",), ("congestion",), 1),
    (("outcome",), ("answered",), 1),
    (("outcome",), ("busy",), 1),
    (("state",), ("talking",), 1),
    (("ended",), (), 1),
    (("since", "before"), (MIDDLE, parse_rfc3339("2026-01-02T13:00:00Z"), 0), 1),
    (("transferred",), (), 1),
    (("not_transferred",), (), 2),
    (("min_talk",), (30.0,), 2),
    (("min_talk_60",), (250.0,), 7),
    (("min_talk_60",), (299.0,), 1),
    (("min_talk_300",), (400.0,), 1),
    (("min_talk_3600",), (3600.0,), 1),
    (("before",), AFTER[1:], 1),
    (("queue", "before"), ("queue42", *AFTER[1:]), 10),
    (("outcome", "since", "before"), ("no_answer", parse_rfc3339("2026-01-01T00:00:00Z"), *AFTER[1:]), 1),
    (("pbx", "before"), ("pbx1", *AFTER[1:]), 1),
    # The rest of the filters are compared along the walk of the first.
    (("direction", "outcome"), ("inbound", "answered"), 6),
    (("number", "queue"), ("103", "queue2"), 30),
    (("pbx", "agent"), ("pbx1", "Agent 7"), 4),
)
"""The filters, their parameters, and how many times a page a plan may read: where few calls match, all of them."""


@pytest.fixture(scope="module")
async def filled(postgresql_url: str) -> AsyncIterator[str]:
    async with cloned(postgresql_url, SCHEMA) as url:
        connection = await connect(url, search_path="model, ledger")
        await create_tables(connection, "calls")
        await generate_calls(connection, CALLS)
        await connection.close()
        yield url


@pytest.mark.parametrize(("names", "values", "pages"), FILTERS, ids=lambda value: str(value)[:40])
async def test_a_page_reads_little_more_than_a_page(
    filled: str, names: tuple[str, ...], values: tuple[Any, ...], pages: int
) -> None:
    parameters = (values[0], 100, *values[1:]) if "pbx" in names else (100, *values)
    for is_full in (False, True):
        for node in await plan(filled, list_sql(names, is_full=is_full), parameters):
            assert node["Node Type"] != "Seq Scan", node
            read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            assert read <= pages * PAGE, node


async def test_a_call_is_read_by_one_id(filled: str) -> None:
    for sql, parameters in ((OF_ID, ("70000.2",)), (OF_PBX_AND_ID, ("pbx1", "70000.2"))):
        read = await plan(filled, sql, parameters)
        assert {node["Node Type"] for node in read} <= {"Limit", "Sort", "Nested Loop", "Index Scan", "Index Only Scan"}
        assert max(node["Actual Rows"] for node in read) <= 1
