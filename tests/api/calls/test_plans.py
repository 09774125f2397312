"""Each page of calls reads an index, and little more than a page or a walk's bound: EXPLAIN over 100,000 calls."""

from collections.abc import AsyncIterator
from itertools import combinations
from typing import Any

import asyncpg
import pytest

from projections.calls.bloom import ALL_BITS, bloom_of
from services.calls.listing import filter_of, first_calls, list_sql, past_sql
from services.calls.one import OF_ID, OF_PBX_AND_ID
from services.calls.page import page_of
from services.calls.walks import MOST_CALLS, MOST_TAGS, MOST_TALKS
from services.database.connection import connect
from tests.support.call_tables import create_tables
from tests.support.database import SCHEMA, cloned
from tests.support.many_calls import filter_values, generate_calls, place_of
from tests.support.plans import plan

CALLS = 100_000
LIMIT = 100
PAGE = LIMIT + 1
MIDDLE, EARLY = place_of(50_000), place_of(700)
ALONE: tuple[tuple[dict[str, Any], int], ...] = (
    ({}, 1),
    *[({"pbx": value}, 1) for value in ("pbx1", "lone", "retired", "none")],
    *[({"number": value}, 1) for value in ("4930100", "999", "888", "101", "1")],
    *[({"endpoint": value}, 1) for value in ("PJSIP/trunk", "PJSIP/lone", "PJSIP/retired", "PJSIP/none")],
    *[({"queue": value}, 1) for value in ("sales", "lone", "retired", "queue42", "none")],
    *[({"agent": value}, 1) for value in ("Agent 7", "lone", "retired", "none")],
    *[({"direction": value}, 1) for value in ("inbound", "outbound", "transit")],
    *[({"outcome": value}, 1) for value in ("answered", "congestion", "failed", "busy")],
    *[({"state": value}, 2) for value in ("ended", "talking", "ringing")],
    *[({"transferred": value}, 2) for value in (True, False)],
    *[({"from": since, "to": until}, 1) for since, until in ((EARLY[0], MIDDLE[0]), (MIDDLE[0], MIDDLE[0]))],
    ({"cursor": EARLY}, 1),
    *[({"cursor": MIDDLE, **one}, 1) for one in ({"queue": "sales"}, {"pbx": "lone"}, {"outcome": "failed"})],
)
"""The filters, and how many times a page a plan may read."""
VALUES = filter_values(CALLS)
BLOOMS = """
SELECT c.direction, c.outcome, c.talk_seconds, c.is_transferred, c.ended_at IS NULL AS is_open,
       array_agg(DISTINCT t.bloom) AS blooms, array_agg(t.kind || '=' || t.value) AS tags
FROM calls c JOIN call_tags t ON t.pbx = c.pbx AND t.linkedid = c.linkedid
WHERE c.number % 997 = 9 OR c.number IN (7, 50000, 99999) GROUP BY c.number, 1, 2, 3, 4, 5
"""
PAIRS = [(one, other) for one, other in combinations(VALUES, 2) if (one, other) != ("from", "cursor")]


@pytest.fixture(scope="module")
async def filled(postgresql_url: str) -> AsyncIterator[str]:
    async with cloned(postgresql_url, SCHEMA) as url:
        connection = await connect(url, search_path="model, ledger")
        await create_tables(connection, "calls")
        await generate_calls(connection, CALLS)
        await connection.close()
        yield url


@pytest.fixture
async def connection(filled: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(filled, search_path="model, ledger")
    yield connection
    await connection.close()


def statement(values: dict[str, Any], *, is_full: bool = False) -> tuple[str, tuple[Any, ...]]:
    """Return the SQL of a page by these values, and its parameters."""
    filters = filter_of(values, LIMIT)
    pbx = (values["pbx"],) if "pbx" in values else ()
    return list_sql(filters.names, is_full=is_full), (*pbx, *filters.args)


def rows_read(node: dict[str, Any]) -> float:
    rows: float = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return rows


@pytest.mark.parametrize(("values", "pages"), ALONE, ids=lambda value: str(value)[:40])
async def test_a_page_reads_little_more_than_a_page(filled: str, values: dict[str, Any], pages: int) -> None:
    for is_full in (False, True):
        sql, parameters = statement(values, is_full=is_full)
        for node in await plan(filled, sql, parameters):
            assert node["Node Type"] != "Seq Scan", node
            assert rows_read(node) <= pages * PAGE, node


@pytest.mark.parametrize("seconds", VALUES["min_talk"])
async def test_much_talk_is_found_by_its_index(filled: str, seconds: float) -> None:
    assert_bounded(await plan(filled, *statement({"min_talk": seconds})))


@pytest.mark.parametrize(("one", "other"), PAIRS)
async def test_a_page_by_two_filters_is_bounded(filled: str, one: str, other: str) -> None:
    for value in VALUES[one]:
        for second in VALUES[other]:
            assert_bounded(await plan(filled, *statement({one: value, other: second})))


def assert_bounded(nodes: list[dict[str, Any]]) -> None:
    """Assert that a walk reads no more than its bounds, wherever it looks."""
    for node in nodes:
        assert node["Node Type"] != "Seq Scan", node
        if node["Node Type"] in {"Index Scan", "Bitmap Heap Scan"}:
            assert rows_read(node) <= MOST_CALLS + LIMIT, node
        elif node.get("Relation Name") == "call_tags":
            assert rows_read(node) <= MOST_TAGS + LIMIT, node
        else:
            assert rows_read(node) <= MOST_TALKS + LIMIT, node


@pytest.mark.parametrize(("one", "other"), PAIRS)
async def test_pages_by_two_filters_lose_no_call(connection: asyncpg.Connection, one: str, other: str) -> None:
    for value in VALUES[one]:
        for second in VALUES[other]:
            values = {one: value, other: second}
            _, parameters = statement(values)
            plain = past_sql(filter_of(values, LIMIT).names, is_full=False)
            expected, _ = page_of(await connection.fetch(plain, *parameters))
            calls = await first_calls(connection, values, LIMIT)
            assert [row["number"] for row in calls] == [row["number"] for row in expected], values


async def test_a_cut_page_continues_where_it_ended(connection: asyncpg.Connection) -> None:
    values = {"queue": "sales", "direction": "internal"}
    sql, parameters = statement(values)
    calls, place = page_of(await connection.fetch(sql, *parameters))
    assert calls == []
    assert place is not None
    assert place[1] == CALLS - 2 * (MOST_TAGS + LIMIT - 1)
    sql, parameters = statement({**values, "cursor": place})
    assert page_of(await connection.fetch(sql, *parameters)) == ([], None)


async def test_generated_blooms_are_those_of_the_fold(connection: asyncpg.Connection) -> None:
    rows = await connection.fetch(BLOOMS)
    assert len(rows) > 100
    for row in rows:
        tags = [tuple(text.split("=")) for text in row["tags"]]
        values = (row["direction"], row["outcome"], row["talk_seconds"])
        expected = ALL_BITS if row["is_open"] else bloom_of(tags, *values, is_transferred=row["is_transferred"])
        assert row["blooms"] == [expected]


async def test_a_call_is_read_by_one_id(filled: str) -> None:
    for sql, parameters in ((OF_ID, ("70000.2",)), (OF_PBX_AND_ID, ("pbx1", "70000.2"))):
        read = await plan(filled, sql, parameters)
        assert {node["Node Type"] for node in read} <= {"Limit", "Sort", "Nested Loop", "Index Scan", "Index Only Scan"}
        assert max(node["Actual Rows"] for node in read) <= 1
