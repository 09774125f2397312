"""Explanations of rows, calls and statistics: the amounts add up to the served numbers of a capture."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.app_keys import CHECKPOINTS
from projections import ALL
from projections.engine.subscriptions import event_names_of
from schemas.log import Connected, Disconnected, NewEvent, SnapshotCompleted, SnapshotStarted
from services.replay import explain
from tests.support.api_client import Client, RecordedApi, Serve, serve_as_admin
from tests.support.ledger import Ledger
from tests.support.log_clock import set_clock

PATH = "/v1/ledger/explain"
PASSAGES = {"abandoned", "waits", "wait_seconds", "sla_seconds", "in_sla", "in_sla_percent"}
"""The members that are sums of passages, and not of the events of statistics."""
MAPS = {"pbx": "pbx", "queues": "queue", "agents": "agent", "endpoints": "endpoint"}


@pytest.fixture
async def client(recorded: RecordedApi) -> Client:
    return recorded.client


async def get_explanation(client: Client, **query: Any) -> dict[str, Any]:
    reply = await client.get(PATH, params=query)
    assert reply.status == 200, await reply.text()
    body: dict[str, Any] = await reply.json()
    return body


async def pages(client: Client, **query: Any) -> dict[str, Any]:
    """Follow ``next`` to the end, and return the last page with the events of all pages."""
    events: list[Any] = []
    cursor: dict[str, Any] = {}
    while True:
        body = await get_explanation(client, **query, **cursor)
        events += body["events"]
        if body["next"] is None:
            return {**body, "events": events}
        cursor = {"cursor": body["next"]}


def total(amounts: list[Any]) -> Any:
    if amounts and isinstance(amounts[0], list):
        return [sum(column) for column in zip(*amounts, strict=True)]
    return sum(amounts)


async def periods(recorded: RecordedApi) -> list[str]:
    return [
        row[0] for row in await recorded.ledger.connection.fetch("SELECT DISTINCT period FROM statistics ORDER BY 1")
    ]


async def test_amounts_add_up_to_every_served_statistic(recorded: RecordedApi) -> None:
    client, rows = recorded.client, 0
    for period in await periods(recorded):
        kind = "statistics" if len(period) == 10 else "usage"
        for pbx in ({}, {"pbx": "rich16"}, {"pbx": "rich22"}):
            served = (await (await client.get(f"/api/{kind}/{period}", params=pbx)).json())["result"]
            cases: list[tuple[str, str | None, Any]] = [("total", None, served["total"])]
            cases += [(scope, name, sums) for of, scope in MAPS.items() for name, sums in served[of].items()]
            for scope, name, sums in cases:
                name_query = {"name": name} if name is not None else {}
                explanation = await get_explanation(
                    client, statistics=period, scope=scope, limit=10_000, **name_query, **pbx
                )
                passages = PASSAGES if scope == "queue" else {"name"}
                expected = {member: value for member, value in sums.items() if member not in passages}
                assert (explanation["value"], explanation["exact"], explanation["next"]) == (expected, True, None)
                for member, value in expected.items():
                    amounts = [e["amounts"][member] for e in explanation["events"] if member in e["amounts"]]
                    assert (total(amounts) or [0] * 24 if member == "by_hour" else total(amounts)) == value
                rows += 1
    # Every row of the table, and every sum of rows of several PBXes.
    assert rows >= await recorded.ledger.connection.fetchval("SELECT count(*) FROM statistics") + len(
        await periods(recorded)
    )


async def test_pages_of_one_member_equal_the_whole_explanation(recorded: RecordedApi) -> None:
    client, day = recorded.client, (await periods(recorded))[-1]
    for member in ("calls", "talk_seconds", "longest_seconds", "by_hour"):
        whole = await get_explanation(client, statistics=day, member=member, limit=10_000)
        paged = await pages(client, statistics=day, member=member, limit=400)
        assert paged["events"] == whole["events"]
        assert total([event["amount"] for event in whole["events"]]) == whole["value"]
    records = await recorded.ledger.connection.fetch("SELECT position FROM call_records ORDER BY 1")
    whole = await get_explanation(client, statistics=day[:7], member="calls", limit=10_000)
    assert [event["position"] for event in whole["events"]] == [row[0] for row in records]
    longest = (await get_explanation(client, statistics=day, member="longest_seconds"))["events"]
    best = await recorded.ledger.connection.fetchval("SELECT max(billable_seconds) FROM call_records")
    assert sum(event["amount"] for event in longest) == best
    assert all(event["amount"] > 0 for event in longest)


async def test_an_explanation_beyond_the_limits_is_not_exact(
    recorded: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, day = recorded.client, (await periods(recorded))[-1]
    for name, limit in (("MAX_POSITIONS", 1000), ("MAX_EVENTS", 10)):
        with monkeypatch.context() as patch:
            patch.setattr(explain, name, limit)
            explanation = await get_explanation(client, statistics=day)
        assert (explanation["exact"], explanation["events"]) == (False, [])
        assert "One response reads at most" in explanation["why"]
    assert (await get_explanation(client, statistics=day))["exact"] is True


# Recordings contain no facts; the test session adds its first user, its login and its link.
OF_RINGLEDGER = {"links", "tokens", "users"}
OF_AMI = [m for m in ALL if any(on.shape.source_of_events == "ami" for on in m.on.values())]
RECORDED_MODELS = [m for m in ALL if m.name in OF_RINGLEDGER or (m in OF_AMI and m.name != "agi_runs")]


@pytest.mark.parametrize("model", RECORDED_MODELS, ids=lambda model: model.name)
async def test_each_model_explains_a_row_by_events(recorded: RecordedApi, model: Any) -> None:
    connection = recorded.ledger.connection
    row = await connection.fetchrow(f"SELECT * FROM model.{model.name} ORDER BY tm_update DESC, pbx LIMIT 1")
    key = [value.isoformat() if hasattr(value := row[name], "isoformat") else value for name in model.key]
    explanation = await pages(recorded.client, model=model.name, key=json.dumps(key), pbx=row["pbx"], limit=50)
    assert (explanation["exact"], explanation["pbx"], explanation["row"]["pbx"]) == (True, row["pbx"], row["pbx"])
    positions = [event["position"] for event in explanation["events"]]
    assert positions == sorted(set(positions)) != []
    assert explanation["events"][0]["changed"] == ["created"]
    assert all(event["name"] in event_names_of(model) for event in explanation["events"])
    assert explanation["events"][-1]["occurred"] == f"{row['tm_update']:%Y-%m-%dT%H:%M:%S.%fZ}"


async def test_a_channel_explanation_reaches_its_last_change(recorded: RecordedApi) -> None:
    connection = recorded.ledger.connection
    pbx, unique_id = await connection.fetchrow(
        "SELECT pbx, unique_id FROM channels WHERE bridge_id IS NOT NULL ORDER BY 1, 2 LIMIT 1"
    )
    explanation = await get_explanation(recorded.client, model="channels", key=json.dumps([unique_id]), pbx=pbx)
    events = explanation["events"]
    assert (events[0]["name"], events[0]["changed"]) == ("Newchannel", ["created"])
    assert "bridge_id" in next(event["changed"] for event in events if event["name"] == "BridgeEnter")
    raws = {
        row[0]: row[1]
        for row in await connection.fetch(
            "SELECT position, raw FROM ledger.event WHERE position = ANY($1)", [event["position"] for event in events]
        )
    }
    assert all(unique_id.encode() in raws[event["position"]] for event in events)


async def test_a_call_has_every_event_of_its_linkedid(recorded: RecordedApi) -> None:
    connection = recorded.ledger.connection
    calls = await connection.fetch(
        "SELECT pbx, linked_id, array_agg(position ORDER BY position) AS positions,"
        " array_agg(DISTINCT unique_id) AS unique_ids FROM call_records GROUP BY 1, 2"
        " HAVING count(DISTINCT unique_id) > 2 ORDER BY 1, 2 LIMIT 6"
    )
    assert len(calls) == 6
    for call in calls:
        explanation = await pages(recorded.client, call=call["linked_id"], pbx=call["pbx"], limit=50)
        assert explanation["linked_ids"] == [call["linked_id"]]
        assert [record["position"] for record in explanation["records"]] == call["positions"]
        positions = [event["position"] for event in explanation["events"]]
        pattern = rf"\r\n[A-Za-z0-9]*(linkedid|uniqueid): {re.escape(call['linked_id'])}\r\n"
        expected = await connection.fetch(
            "SELECT position FROM ledger.event WHERE pbx = $1 AND convert_from(raw, 'LATIN1') ~* $2 ORDER BY 1",
            call["pbx"],
            pattern,
        )
        assert positions == [row[0] for row in expected]
        assert set(call["positions"]) <= set(positions)
        names = {event["name"] for event in explanation["events"]}
        assert {"Newchannel", "Hangup", "Cdr"} <= names
        by_channel = await get_explanation(recorded.client, call=call["unique_ids"][-1], pbx=call["pbx"], limit=10_000)
        assert {record["position"] for record in by_channel["records"]} == set(call["positions"])
        assert set(positions) <= {event["position"] for event in by_channel["events"]}


def cdr(unique_id: str, linked_id: str = "") -> bytes:
    more = f"LinkedID: {linked_id}\r\n" if linked_id else ""
    return (
        f"Event: Cdr\r\nSource: 1\r\nChannel: PJSIP/{unique_id}\r\nStartTime: 2026-11-22 10:00:00\r\n"
        f"EndTime: 2026-11-22 10:00:05\r\nDuration: 5\r\nBillableSeconds: 4\r\nDisposition: ANSWERED\r\n"
        f"UniqueID: {unique_id}\r\n{more}\r\n"
    ).encode()


def channel(event: str, unique_id: str, linked_id: str) -> bytes:
    lines = f"Event: {event}\r\nChannel: PJSIP/{unique_id}\r\nUniqueid: {unique_id}\r\nLinkedid: {linked_id}"
    return f"{lines}\r\n\r\n".encode()


@pytest.fixture
async def own_client(serve: Serve) -> Client:
    return await serve_as_admin(serve)


async def wait_folded(client: Client, position: int) -> None:
    await client.app[CHECKPOINTS].wait_folded([model.name for model in ALL], position)


async def test_a_gap_is_explained_by_link_events(own_client: Client, ledger: Ledger) -> None:
    last = await ledger.write(
        Connected("a:5038"), Disconnected("cut", 5.0), Connected("a:5038"), SnapshotStarted(7), SnapshotCompleted(7)
    )
    await wait_folded(own_client, last)
    explanation = await get_explanation(own_client, model="gaps", key=f"[{last - 3}]")
    assert (explanation["exact"], explanation["row"]["reason"]) == (True, "cut")
    events = [(event["position"], event["name"], event["changed"]) for event in explanation["events"]]
    assert events == [
        (last - 3, "Disconnected", ["created"]),
        (last - 2, "Connected", ["until_time", "until_position"]),
        (last, "SnapshotCompleted", ["healed_time"]),
    ]


async def test_an_explanation_masks_secrets(own_client: Client, ledger: Ledger) -> None:
    user = await ledger.connection.fetchrow("SELECT uuid, password_hash FROM users")
    reply = await own_client.get(PATH, params={"model": "users", "key": json.dumps([user["uuid"]])})
    text = await reply.text()
    assert (reply.status, json.loads(text)["row"]["password_hash"]) == (200, "********")
    assert user["password_hash"] not in text


async def test_a_call_without_linkedid_is_matched_by_channels(own_client: Client, ledger: Ledger) -> None:
    one, other = "1795341600.1", "1795341600.2"
    events = [
        channel("Newchannel", one, one),
        channel("Newchannel", other, one),
        channel("Newchannel", "1795341600.3", "1795341600.3"),
        cdr(other),
        channel("Hangup", other, one),
        cdr(one),
        channel("Hangup", one, one),
    ]
    last = await ledger.write(*events)
    await wait_folded(own_client, last)
    explanation = await get_explanation(own_client, call=other)
    assert explanation["linked_ids"] == [one, other]
    first = last - len(events) + 1
    assert [event["position"] - first for event in explanation["events"]] == [0, 1, 3, 4, 5, 6]
    assert [record["position"] - first for record in explanation["records"]] == [3]


def event_at(block: bytes, when: datetime) -> NewEvent:
    name = block.split(b"\r\n", 1)[0].removeprefix(b"Event: ").decode()
    return NewEvent("ami", name, when.timestamp(), when.timestamp(), block)


def call(unique_id: str, when: datetime) -> list[NewEvent]:
    block = cdr(unique_id, unique_id).replace(b"2026-11-22 10:00", f"{when:%Y-%m-%d %H:%M}".encode())
    return [
        event_at(channel("Newchannel", unique_id, unique_id), when),
        event_at(block, when + timedelta(seconds=6)),
        event_at(channel("Newstate", "7.7", "7.7"), when),
    ]


async def test_an_explanation_folds_as_little_as_possible(own_client: Client, ledger: Ledger) -> None:
    start = datetime(2031, 3, 1, 12, tzinfo=UTC)
    last = {}
    for number in range(12):
        when = start + timedelta(days=number)
        await set_clock(ledger.connection, when + timedelta(seconds=8))
        events = call(f"{int(when.timestamp())}.1", when)
        if number == 0:
            events.append(event_at(channel("Newchannel", "7.7", "7.7"), when))
        last[number] = await ledger.write(*events)
        if number == 5:  # a Hold changes the oldest channel, and the Newstate of the next day changes it back
            last[number] = await ledger.write(
                event_at(channel("Hold", "7.7", "7.7").replace(b"7.7\r\nU", b"7\r\nU"), when)
            )
    await wait_folded(own_client, last[11])

    explanation = await get_explanation(own_client, statistics="2031-03-09")
    assert (explanation["exact"], explanation["value"]["calls"], len(explanation["events"])) == (True, 1, 1)
    assert (explanation["folded"]["after"], explanation["folded"]["upto"]) == (last[6], last[8])
    explanation = await get_explanation(own_client, statistics="2031-03", member="calls")
    assert (explanation["exact"], explanation["value"], len(explanation["events"])) == (True, 12, 12)

    recent = json.dumps([f"{int((start + timedelta(days=11)).timestamp())}.1"])
    explanation = await get_explanation(own_client, model="channels", key=recent)
    assert (explanation["exact"], explanation["folded"]) == (True, {"after": last[10], "upto": last[11], "events": 2})
    # The last change is not enough for the oldest channel: the fold begins earlier.
    explanation = await get_explanation(own_client, model="channels", key='["7.7"]')
    assert (explanation["exact"], explanation["folded"]["after"], explanation["folded"]["upto"]) == (True, 0, last[6])
    assert [event["name"] for event in explanation["events"]] == ["Newchannel", "Hold", "Newstate"]

    explanation = await get_explanation(own_client, call=f"{int((start + timedelta(days=3)).timestamp())}.1")
    assert [event["position"] for event in explanation["events"]] == [last[3] - 2, last[3] - 1]
    assert explanation["scanned"] == 3


async def test_an_ambiguous_call_needs_the_parameter_pbx(own_client: Client, ledger: Ledger) -> None:
    for pbx in ("a", "b"):
        last = await ledger.write(channel("Newchannel", "7.1", "7.1"), cdr("7.1", "7.1"), pbx=pbx)
    await wait_folded(own_client, last)
    reply = await own_client.get(PATH, params={"call": "7.1"})
    assert (reply.status, (await reply.json())["message"]) == (400, "pbx: several PBXes have this call: a, b")
    explanation = await get_explanation(own_client, call="7.1", pbx="b")
    assert {event["pbx"] for event in explanation["events"]} == {"b"}
    reply = await own_client.get(PATH, params={"model": "channels", "key": '["7.1"]'})
    assert (reply.status, (await reply.json())["message"]) == (400, "pbx: several PBXes have this row: a, b")
    explanation = await get_explanation(own_client, model="channels", key='["7.1"]', pbx="a")
    assert [event["name"] for event in explanation["events"]] == ["Newchannel"]


async def test_a_row_without_events_is_not_exact(own_client: Client, ledger: Ledger) -> None:
    last = await ledger.write(channel("Newchannel", "7.1", "7.1"), cdr("7.1", "7.1"))
    await wait_folded(own_client, last)
    await ledger.connection.execute("UPDATE model.channels SET channel = 'PJSIP/forged'")
    await ledger.connection.execute("UPDATE model.statistics SET calls = 5")
    explanation = await get_explanation(own_client, model="channels", key='["7.1"]')
    assert (explanation["exact"], explanation["row"]["channel"]) == (False, "PJSIP/forged")
    explanation = await get_explanation(own_client, statistics="2026-11-22")
    assert (explanation["exact"], explanation["value"]["calls"]) == (False, 5)
    assert explanation["why"].startswith("The folded part of the log does not give the served rows")
    assert "positions are read" not in explanation["why"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("pbx=rich22", 400),
        ("call=1.1&model=channels", 400),
        ("call=", 400),
        ("call=9999999999.1", 404),
        ("call=%25", 404),
        ("call=%27%20OR%201=1%20--", 404),
        ("call=1.1&limit=0", 400),
        ("call=1.1&key=[]", 400),
        ("statistics=2026", 400),
        ("statistics=2026-13", 400),
        ("statistics=2026-11-31", 400),
        ("statistics=", 400),
        ("statistics=2001-01", 404),
        ("statistics=2026-11&scope=room", 400),
        ("statistics=2026-11&scope=queue", 400),
        ("statistics=2026-11&name=support", 400),
        ("statistics=2026-11&scope=queue&name=nobody", 404),
        ("statistics=2026-11&member=money", 400),
        ("statistics=2026-11&member=entered", 400),
        ("statistics=2026-11&pbx=nobody", 404),
        ("model=nothing&key=[]", 400),
        ("model=channels", 400),
        ("model=channels&key=1.1", 400),
        ("model=channels&key=[1]", 400),
        ("model=channels&key=[]", 400),
        ('model=channels&key=["a","b"]', 400),
        ('model=channels&key=["a\\u0000"]', 400),
        ('model=channels&key=["%ED%A0%80"]', 404),
        ('model=channels&key=["nobody"]', 404),
        ('model=samples&key=["2026-11-22T00:00:00"]', 400),
        ('model=samples&key=["0001-01-01T00:00:00%2B14:00"]', 400),
        ('model=samples&key=["2001-11-22T00:00:00Z"]', 404),
        ("model=call_records&key=[99999999999999999999]", 400),
        ("model=call_records&key=[0]", 404),
        ("model=links&key=[1]", 400),
        ("model=links&key=" + "[" * 2500, 400),
        ("model=links&key=[]&pbx=nobody", 404),
    ],
)
async def test_an_invalid_or_unknown_subject_is_refused(client: Client, query: str, status: int) -> None:
    reply = await client.get(f"{PATH}?{query}")
    body = await reply.json()
    assert (reply.status, body["statuscode"]) == (status, status), body
    assert body["message"]
