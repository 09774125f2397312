"""The past of a model with a machine: its rows and derived rows at every position, in views, streams, explanations."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from api.http.views.as_of import _with_rows, tables_in, with_tables
from projections.engine import step
from projections.engine.model import Key
from services.database.heartbeat import Heartbeat
from services.database.pool import open_pool
from services.log.append import append_events
from services.projector import saved_states as saved
from services.projector.table import Table
from services.replay import explain, instants
from services.replay.as_of import AsOfReader
from services.replay.subscription import Subscription
from tests.support.pair_model import PAIRS, append_pairs, folded_tables, pair, random_pairs, served_tables
from tests.support.projectors import finish, open_projector

EVENTS = random_pairs(7, 150)
VIEW = """
SELECT p.pbx, p.pair, i.id, s.pairs, s.numbers
FROM pairs p JOIN pair_ids i USING (pbx, pair) LEFT JOIN tag_sums s ON s.pbx = p.pbx AND s.tag = p.tags->>0
WHERE p.pbx = $1 ORDER BY p.number, i.id
"""


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def open_story(name: str, number: int) -> dict[str, Any]:
    story = {"number": number, "ids": [name], "tags": [], "amount": 0, "notes": [], "ended_at": None}
    return {"story": story, "body": None}


@pytest.fixture(autouse=True)
async def _log(connection: asyncpg.Connection) -> None:
    await append_pairs(connection, EVENTS)


async def test_as_of_a_position_is_the_prefixs_fold(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "SAVE_INTERVAL", 40)
    await finish(await open_projector(connection, PAIRS), 23)
    as_of = AsOfReader([PAIRS])
    for position in range(1, len(EVENTS) + 1):
        model = (await as_of.read(connection, ["pairs"], await instants.find(connection, position)))["pairs"]
        folded = await folded_tables(connection, until=position)
        assert {(row.pbx, row.pair): row for row in model.rows} == folded["pairs"], position
        for table in model.table.derived:
            rows = {table.key_of(row): row for row in model.derived_rows(table.bare_name)}
            assert rows == folded[table.bare_name], position


async def test_a_past_view_reads_its_derived_tables(connection: asyncpg.Connection) -> None:
    as_of = AsOfReader([PAIRS])
    projector = await open_projector(connection, PAIRS)
    for position in (50, 100, 150):
        await projector.advance(50)
        states = await as_of.read(connection, ["pairs"], await instants.find(connection, position))
        sql, parameters = _with_rows(VIEW, ("a",), list(states.values()))
        served = await connection.fetch(VIEW, "a")
        assert len(served) > 3
        assert await connection.fetch(sql, *parameters) == served
    tables = tables_in(VIEW, [Table(PAIRS)])
    assert [table.name for table in tables] == ["pairs", "pair_ids", "tag_sums"]
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE shadowed AS {with_tables(VIEW, 2, tables)}")
    nulls = ", ".join(["NULL"] * (1 + sum(len(table.columns) for table in tables)))
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE shadowed ({nulls})")
    assert "Function Scan" in plan
    assert "Relation Name" not in plan


async def test_a_subscription_yields_the_changes_of_each_event(url: str, connection: asyncpg.Connection) -> None:
    await finish(await open_projector(connection, PAIRS))
    served: dict[str, dict[Key, Any]] = await served_tables(connection)
    async with await open_pool(url, Heartbeat(url), size=2, search_path="model, ledger") as pool:
        for start in (0, 70):
            subscription = await Subscription.open(pool, AsOfReader([PAIRS]), start)
            rows = dict(subscription.fold.rows("pairs"))
            assert rows == (await folded_tables(connection, until=start))["pairs"]
            async for _, changes in subscription.read(pool, len(EVENTS)):
                for change in changes:
                    row = change.after or change.before
                    assert rows.pop((row.pbx, row.pair), None) == change.before
                    if change.after is not None:
                        rows[row.pbx, row.pair] = change.after
            assert rows == served["pairs"]


async def test_a_subscription_begins_with_open_rows(
    url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The served table is further than the stream: it has what a late event does, and what begins later."""
    monkeypatch.setattr(saved, "SAVE_INTERVAL", 40)
    events = [pair(kind, 2000.0 + n, Id=f"x{n}", Tag="x") for n in range(40) for kind in ("Begin", "End")]
    late = [pair("Late", 3000.0, Id="x7", Tag="late"), pair("Begin", 3001.0, Id="y"), pair("End", 3002.0, Id="y")]
    await append_events(connection, "c", 1, 1, [*events, *late])
    await finish(await open_projector(connection, PAIRS), 10)
    served = (await served_tables(connection))["pairs"]
    start, head = len(EVENTS) + len(events), len(EVENTS) + len(events) + len(late)
    async with await open_pool(url, Heartbeat(url), size=2, search_path="model, ledger") as pool:
        subscription = await Subscription.open(pool, AsOfReader([PAIRS]), start)
        began = subscription.fold.rows("pairs")
        assert ("c", "x7") not in began
        assert len(began) < len(served) / 2
        got = [changes async for _, changes in subscription.read(pool, head)]
    assert [(c.after.pair, c.before is None, c.after) for changes in got for c in changes] == [
        ("x7", False, served["c", "x7"]),
        ("y", True, replace(served["c", "y"], tm_update=at(3001.0), ended_at=None, **open_story("y", start + 2))),
        ("y", False, served["c", "y"]),
    ]


async def test_a_subscription_forgets_old_ended_rows(
    url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "MOST_ENDED", 5)
    events = [pair(kind, 2000.0 + n, Id=f"x{n}") for n in range(400) for kind in ("Begin", "End")]
    await append_events(connection, "c", 1, 1, events)
    await finish(await open_projector(connection, PAIRS))
    head = len(EVENTS) + len(events)
    async with await open_pool(url, Heartbeat(url), size=2, search_path="model, ledger") as pool:
        subscription = await Subscription.open(pool, AsOfReader([PAIRS]), len(EVENTS))
        changes = [change async for _, ones in subscription.read(pool, head) for change in ones]
    assert [change.after.pair for change in changes] == [f"x{n}" for n in range(400) for _ in range(2)]
    assert len(subscription.fold.rows("pairs")) < 250


async def test_an_explanation_names_the_events_of_a_row(url: str, connection: asyncpg.Connection) -> None:
    await finish(await open_projector(connection, PAIRS), 31)
    rows = (await served_tables(connection))["pairs"]
    key = max(rows, key=lambda one: len(rows[one].tags))
    async with await open_pool(url, Heartbeat(url), size=2, search_path="model, ledger") as pool:
        explained = await explain.explain_rows(pool, PAIRS, {key: rows[key]}, [(140, 150), (0, 150)])
    assert explained.is_exact
    assert explained.window == (0, 150)
    assert explained.steps[0].before is None
    assert explained.steps[-1].after == rows[key]
    assert len(explained.steps) > 3
