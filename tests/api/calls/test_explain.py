"""Explanations of calls: the events of each call, and the positions behind its rings, talks and transfers."""

import json
from typing import Any

import pytest

from tests.api.calls.conftest import LISTED, Early
from tests.support.api_client import Client

BEGIN = {
    "rings": {"DialBegin"},
    "conversations": {"BridgeEnter", "BridgeLeave"},
    "transfers": {"BlindTransfer", "AttendedTransfer"},
    "queues": {"QueueCallerJoin", "VarSet"},
    "holds": {"Hold"},
    "parks": {"ParkedCall"},
    "recordings": {"MixMonitorStart", "Newstate", "BridgeEnter", "DialEnd"},
}
"""The events that begin an item: who leaves a conference begins the conversation of the others."""


async def explanation(client: Client, linkedid: str) -> dict[str, Any]:
    query = {"model": "calls", "key": json.dumps([linkedid]), "limit": "10000"}
    reply = await client.get("/v1/ledger/explain", params=query)
    assert reply.status == 200, await reply.text()
    body: dict[str, Any] = await reply.json()
    return body


async def test_each_item_of_a_call_has_its_events(early: Early) -> None:
    rows = await early.ledger.connection.fetch(
        "SELECT position, name, convert_from(raw, 'LATIN1') AS raw FROM ledger.event WHERE position >= $1", early.first
    )
    events = {row["position"]: row for row in rows}
    counts, merged = dict.fromkeys(BEGIN, 0), 0
    for call in early.answers[early.last][LISTED][1]["calls"]:
        explained = await explanation(early.client, call["linkedid"])
        assert explained["exact"] is True, (call["linkedid"], explained["folded"])
        positions = [event["position"] for event in explained["events"]]
        assert positions == sorted(set(positions)) != []
        merged += any("of" in event for event in explained["events"])
        for alias in call["aliases"]:
            assert await explanation(early.client, alias) == explained
        for name, begin in BEGIN.items():
            assert len(explained["positions"][name]) == len(call[name])
            for item, some in zip(call[name], explained["positions"][name], strict=True):
                assert some == sorted(set(some)) != [], (name, item)
                assert set(some) <= set(positions)
                assert events[some[0]]["name"] in begin, (name, item, events[some[0]]["name"])
                counts[name] += 1
        for ring, some in zip(call["rings"], explained["positions"]["rings"], strict=True):
            assert all(ring["to"]["unique_id"] in events[position]["raw"] for position in some[:1])
        for talk, some in zip(call["conversations"], explained["positions"]["conversations"], strict=True):
            assert (len(some) > 1) == (talk["ended_at"] is not None)
    assert min(counts[name] for name in ("rings", "conversations", "transfers", "queues")) > 2, counts
    assert merged > 0


async def test_a_call_is_folded_from_a_saved_state(early: Early) -> None:
    """Its trunks were set long before, and events of other calls are no reason to fold the whole log."""
    calls = early.answers[early.last][LISTED][1]["calls"]
    assert {call["direction"] for call in calls} >= {"inbound", "internal"}
    explained = await explanation(early.client, calls[0]["linkedid"])
    assert explained["exact"] is True
    assert early.first < explained["folded"]["after"] < explained["events"][0]["position"]


async def test_an_unknown_call_is_not_found(early: Early) -> None:
    for query in ({"key": '["1.1"]'}, {"key": '["1.1"]', "pbx": "none"}):
        reply = await early.client.get("/v1/ledger/explain", params={"model": "calls", **query})
        assert reply.status == 404, await reply.text()


@pytest.mark.parametrize("key", ["[]", '["a", "b"]', "[7]", '["\\u0000"]'])
async def test_a_bad_key_is_refused(early: Early, key: str) -> None:
    reply = await early.client.get("/v1/ledger/explain", params={"model": "calls", "key": key})
    assert reply.status == 400
