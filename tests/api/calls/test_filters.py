"""Each filter of GET /v1/calls, alone and with others, against a search through all calls of a recording."""

import random
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from msgspec import Struct

from tests.api.calls.conftest import LISTED, Early, answer
from tests.support.calls import numbers_of

COMBINATIONS = 120
LIST_MEMBERS = {
    *("parties", "rings", "conversations", "transfers", "pickups", "forwards", "queues", "holds", "parks"),
    *("conferences", "voicemails", "recordings", "legs", "gaps"),
}


class ServedCall(Struct):
    """A call as it is served, and what its row has besides: its place in the order, and the agents whom queues rang."""

    call: dict[str, Any]
    number: int
    agents: set[str]


TESTS: dict[str, Callable[[ServedCall, str], bool]] = {
    "pbx": lambda one, value: one.call["pbx"] == value,
    "number": lambda one, value: re.sub(r"\D", "", value) in numbers_of(one.call),
    "endpoint": lambda one, value: value in {party["endpoint"] for party in one.call["parties"]},
    "queue": lambda one, value: value in {passage["queue"] for passage in one.call["queues"]},
    "agent": lambda one, value: value in one.agents,
    "direction": lambda one, value: one.call["direction"] == value,
    "outcome": lambda one, value: one.call["outcome"] == value,
    "state": lambda one, value: one.call["state"] == value,
    "transferred": lambda one, value: bool(one.call["transfers"]) == (value == "true"),
    "min_talk": lambda one, value: one.call["talk_seconds"] >= float(value),
    "from": lambda one, value: datetime.fromisoformat(one.call["started_at"]) >= datetime.fromisoformat(value),
    "to": lambda one, value: datetime.fromisoformat(one.call["started_at"]) < datetime.fromisoformat(value),
}


def values_of(every: list[ServedCall]) -> dict[str, list[str]]:
    """Return the values of each filter that occur, and one that does not."""
    calls = [one.call for one in every]
    values: dict[str, set[str]] = {
        "pbx": {"none", *(call["pbx"] for call in calls)},
        "number": {"999999", "+4930123", *(number for call in calls for number in numbers_of(call))},
        "endpoint": {"PJSIP/none", *(party["endpoint"] for call in calls for party in call["parties"])},
        "queue": {"none", *(passage["queue"] for call in calls for passage in call["queues"])},
        "agent": {"none", *(agent for one in every for agent in one.agents)},
        "direction": {"transit", *(call["direction"] for call in calls)},
        "outcome": {"congestion", *(call["outcome"] for call in calls if call["outcome"])},
        "state": {"held", *(call["state"] for call in calls)},
        "transferred": {"true", "false"},
        "min_talk": {"0", "0.5", "60", "900.25", *(str(call["talk_seconds"]) for call in calls)},
        "from": {call["started_at"] for call in calls},
        "to": {call["started_at"] for call in calls},
    }
    return {name: sorted(some) for name, some in values.items()}


async def all_of(early: Early) -> list[ServedCall]:
    """Return every call in the order of a list."""
    rows = {
        row["linkedid"]: row
        for row in await early.ledger.connection.fetch("SELECT linkedid, number, agent_rings, passages FROM calls")
    }
    served = []
    for call in early.answers[early.last][LISTED][1]["calls"]:
        row = rows[call["linkedid"]]
        parts = [*row["agent_rings"], *row["passages"]]
        agents = {part[name] for part in parts for name in ("agent", "interface") if part[name]}
        served.append(ServedCall(call, row["number"], agents))
    return sorted(served, key=lambda one: (one.call["started_at"], one.number), reverse=True)


async def pages(early: Early, query: dict[str, str]) -> list[dict[str, Any]]:
    """Follow ``next`` to the end."""
    calls: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        status, body = await answer(early.client, f"/v1/calls?{urlencode({**query, **more})}")
        assert status == 200, body
        calls += body["calls"]
        if body["next"] is None:
            return calls
        more = {"cursor": body["next"]}


async def test_filters_select_what_a_search_selects(early: Early) -> None:
    every, dice = await all_of(early), random.Random(6)
    values = values_of(every)
    queries = [{name: value} for name, some in values.items() for value in some[:12]]
    for _ in range(COMBINATIONS):
        names = dice.sample(sorted(TESTS), dice.randint(2, 4))
        # Half of the queries are those of one call, so that several filters select something.
        one = dice.choice(every)
        fitting = {name: [v for v in values[name] if TESTS[name](one, v)] or values[name] for name in names}
        queries.append({name: dice.choice((fitting if dice.random() < 0.5 else values)[name]) for name in names})
    sizes = []
    for query in queries:
        if "from" in query and "to" in query and query["from"] > query["to"]:
            continue
        expected = [one.call for one in every if all(TESTS[name](one, value) for name, value in query.items())]
        page = {"limit": str(dice.choice((1, 3, 100))), "full": dice.choice(("true", "false"))}
        if page["full"] == "false":
            expected = [{n: v for n, v in call.items() if n not in LIST_MEMBERS} for call in expected]
        assert await pages(early, {**query, **page}) == expected, (query, page)
        sizes.append((len(query), len(expected)))
    assert {size for names, size in sizes if names == 1} > {0, 1, 2}
    assert sum(names > 1 and size > 0 for names, size in sizes) > COMBINATIONS // 4


@pytest.mark.parametrize("id_of", ["linkedid", "alias", "channel"])
async def test_each_of_its_ids_finds_a_call(early: Early, id_of: str) -> None:
    compared = 0
    for call in early.answers[early.last][LISTED][1]["calls"]:
        channels = [leg["unique_id"] for leg in call["legs"]]
        ids = {"linkedid": [call["linkedid"]], "alias": call["aliases"], "channel": channels}[id_of]
        for one in ids:
            assert await answer(early.client, f"/v1/calls/{one}") == (200, call)
            assert await answer(early.client, f"/v1/calls/{one}?pbx=pbx") == (200, call)
            compared += 1
    assert compared > 0
