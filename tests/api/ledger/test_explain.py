"""What a number came from: amounts add up to what is served, for all that a capture gives."""

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
from tests.support.api_client import Client, RecordedApi, Serve, admin_token
from tests.support.ledger import Ledger

PATH = "/v1/ledger/explain"
MAPS = {"pbx": "pbx", "queues": "queue", "agents": "agent", "endpoints": "endpoint"}


@pytest.fixture
async def client(recorded: RecordedApi) -> Client:
    return recorded.client


async def explained(client: Client, **query: Any) -> dict[str, Any]:
    reply = await client.get(PATH, params=query)
    assert reply.status == 200, await reply.text()
    found: dict[str, Any] = await reply.json()
    return found


async def pages(client: Client, **query: Any) -> dict[str, Any]:
    """Follow ``next`` to the end, and return the last page with the events of all."""
    events: list[Any] = []
    cursor: dict[str, Any] = {}
    while True:
        found = await explained(client, **query, **cursor)
        events += found["events"]
        if found["next"] is None:
            return {**found, "events": events}
        cursor = {"cursor": found["next"]}


def total(amounts: list[Any]) -> Any:
    if amounts and isinstance(amounts[0], list):
        return [sum(column) for column in zip(*amounts, strict=True)]
    return sum(amounts)


async def periods(recorded: RecordedApi) -> list[str]:
    return [
        row[0] for row in await recorded.ledger.connection.fetch("SELECT DISTINCT period FROM statistics ORDER BY 1")
    ]


async def test_the_amounts_of_every_statistic_add_up_to_what_is_served(recorded: RecordedApi) -> None:
    client, rows = recorded.client, 0
    for period in await periods(recorded):
        kind = "statistics" if len(period) == 10 else "usage"
        for pbx in ({}, {"pbx": "rich16"}, {"pbx": "rich22"}):
            served = (await (await client.get(f"/api/{kind}/{period}", params=pbx)).json())["result"]
            asked: list[tuple[str, str | None, Any]] = [("total", None, served["total"])]
            asked += [(scope, name, sums) for of, scope in MAPS.items() for name, sums in served[of].items()]
            for scope, name, sums in asked:
                named = {"name": name} if name is not None else {}
                found = await explained(client, statistics=period, scope=scope, limit=10_000, **named, **pbx)
                wanted = {member: value for member, value in sums.items() if member != "name"}
                assert (found["value"], found["exact"], found["next"]) == (wanted, True, None)
                for member, value in wanted.items():
                    amounts = [e["amounts"][member] for e in found["events"] if member in e["amounts"]]
                    assert (total(amounts) or [0] * 24 if member == "by_hour" else total(amounts)) == value
                rows += 1
    # Every row of the table, and every sum of rows of several PBXes.
    assert rows >= await recorded.ledger.connection.fetchval("SELECT count(*) FROM statistics") + len(
        await periods(recorded)
    )


async def test_one_member_of_a_statistic_page_by_page(recorded: RecordedApi) -> None:
    client, day = recorded.client, (await periods(recorded))[-1]
    for member in ("calls", "talk_seconds", "longest_seconds", "by_hour"):
        whole = await explained(client, statistics=day, member=member, limit=10_000)
        paged = await pages(client, statistics=day, member=member, limit=400)
        assert paged["events"] == whole["events"]
        assert total([event["amount"] for event in whole["events"]]) == whole["value"]
    records = await recorded.ledger.connection.fetch("SELECT position FROM call_records ORDER BY 1")
    whole = await explained(client, statistics=day[:7], member="calls", limit=10_000)
    assert [event["position"] for event in whole["events"]] == [row[0] for row in records]
    longest = (await explained(client, statistics=day, member="longest_seconds"))["events"]
    best = await recorded.ledger.connection.fetchval("SELECT max(billable_seconds) FROM call_records")
    assert sum(event["amount"] for event in longest) == best
    assert all(event["amount"] > 0 for event in longest)


async def test_what_would_take_too_much_is_not_folded_and_says_so(
    recorded: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, day = recorded.client, (await periods(recorded))[-1]
    for name, limit in (("MAX_POSITIONS", 1000), ("MAX_EVENTS", 10)):
        with monkeypatch.context() as narrow:
            narrow.setattr(explain, name, limit)
            found = await explained(client, statistics=day)
        assert (found["exact"], found["events"]) == (False, [])
        assert "are read for one answer" in found["why"]
    assert (await explained(client, statistics=day))["exact"] is True


# What people alone decide is in no recording; of these the session's first user, login and link are.
OURS = {"links", "tokens", "users"}
OF_AMI = [m for m in ALL if any(on.shape.source_of_events == "ami" for on in m.on.values())]
MADE = [m for m in ALL if m.name in OURS or (m in OF_AMI and m.name != "agi_runs")]


@pytest.mark.parametrize("model", MADE, ids=lambda model: model.name)
async def test_the_events_that_made_a_row_of_any_model(recorded: RecordedApi, model: Any) -> None:
    connection = recorded.ledger.connection
    row = await connection.fetchrow(f"SELECT * FROM model.{model.name} ORDER BY tm_update DESC, pbx LIMIT 1")
    key = [value.isoformat() if hasattr(value := row[name], "isoformat") else value for name in model.key]
    found = await pages(recorded.client, model=model.name, key=json.dumps(key), pbx=row["pbx"], limit=50)
    assert (found["exact"], found["pbx"], found["row"]["pbx"]) == (True, row["pbx"], row["pbx"])
    positions = [event["position"] for event in found["events"]]
    assert positions == sorted(set(positions)) != []
    assert found["events"][0]["changed"] == ["created"]
    assert all(event["name"] in event_names_of(model) for event in found["events"])
    assert found["events"][-1]["occurred"] == f"{row['tm_update']:%Y-%m-%dT%H:%M:%S.%fZ}"


async def test_a_channels_story_is_told_up_to_its_last_change(recorded: RecordedApi) -> None:
    connection = recorded.ledger.connection
    pbx, unique_id = await connection.fetchrow(
        "SELECT pbx, unique_id FROM channels WHERE bridge_id IS NOT NULL ORDER BY 1, 2 LIMIT 1"
    )
    found = await explained(recorded.client, model="channels", key=json.dumps([unique_id]), pbx=pbx)
    events = found["events"]
    assert (events[0]["name"], events[0]["changed"]) == ("Newchannel", ["created"])
    assert "bridge_id" in next(event["changed"] for event in events if event["name"] == "BridgeEnter")
    raws = {
        row[0]: row[1]
        for row in await connection.fetch(
            "SELECT position, raw FROM ledger.event WHERE position = ANY($1)", [event["position"] for event in events]
        )
    }
    assert all(unique_id.encode() in raws[event["position"]] for event in events)


async def test_a_call_is_all_that_its_linked_id_names(recorded: RecordedApi) -> None:
    connection = recorded.ledger.connection
    calls = await connection.fetch(
        "SELECT pbx, linked_id, array_agg(position ORDER BY position) AS positions,"
        " array_agg(DISTINCT unique_id) AS unique_ids FROM call_records GROUP BY 1, 2"
        " HAVING count(DISTINCT unique_id) > 2 ORDER BY 1, 2 LIMIT 6"
    )
    assert len(calls) == 6
    for call in calls:
        found = await pages(recorded.client, call=call["linked_id"], pbx=call["pbx"], limit=50)
        assert found["linked_ids"] == [call["linked_id"]]
        assert [record["position"] for record in found["records"]] == call["positions"]
        got = [event["position"] for event in found["events"]]
        pattern = rf"\r\n[A-Za-z0-9]*(linkedid|uniqueid): {re.escape(call['linked_id'])}\r\n"
        wanted = await connection.fetch(
            "SELECT position FROM ledger.event WHERE pbx = $1 AND convert_from(raw, 'LATIN1') ~* $2 ORDER BY 1",
            call["pbx"],
            pattern,
        )
        assert got == [row[0] for row in wanted]
        assert set(call["positions"]) <= set(got)
        names = {event["name"] for event in found["events"]}
        assert {"Newchannel", "Hangup", "Cdr"} <= names
        one = await explained(recorded.client, call=call["unique_ids"][-1], pbx=call["pbx"], limit=10_000)
        assert {record["position"] for record in one["records"]} == set(call["positions"])
        assert set(got) <= {event["position"] for event in one["events"]}


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
async def own(serve: Serve) -> Client:
    client = await serve()
    client.session.headers["Authorization"] = f"Bearer {await admin_token(client)}"
    return client


async def folded(client: Client, position: int) -> None:
    await client.app[CHECKPOINTS].wait_folded([model.name for model in ALL], position)


async def test_the_events_that_made_a_gap(own: Client, ledger: Ledger) -> None:
    last = await ledger.write(
        Connected("a:5038"), Disconnected("cut", 5.0), Connected("a:5038"), SnapshotStarted(7), SnapshotCompleted(7)
    )
    await folded(own, last)
    found = await explained(own, model="gaps", key=f"[{last - 3}]")
    assert (found["exact"], found["row"]["reason"]) == (True, "cut")
    story = [(event["position"], event["name"], event["changed"]) for event in found["events"]]
    assert story == [
        (last - 3, "Disconnected", ["created"]),
        (last - 2, "Connected", ["until_time", "until_position"]),
        (last, "SnapshotCompleted", ["healed_time"]),
    ]


async def test_no_secret_is_in_a_story(own: Client, ledger: Ledger) -> None:
    kept = await ledger.connection.fetchrow("SELECT uuid, password_hash FROM users")
    reply = await own.get(PATH, params={"model": "users", "key": json.dumps([kept["uuid"]])})
    text = await reply.text()
    assert (reply.status, json.loads(text)["row"]["password_hash"]) == (200, "********")
    assert kept["password_hash"] not in text


async def test_a_call_without_a_mapped_linked_id_is_found_by_its_channels(own: Client, ledger: Ledger) -> None:
    one, other = "1795341600.1", "1795341600.2"
    said = [
        channel("Newchannel", one, one),
        channel("Newchannel", other, one),
        channel("Newchannel", "1795341600.3", "1795341600.3"),
        cdr(other),
        channel("Hangup", other, one),
        cdr(one),
        channel("Hangup", one, one),
    ]
    last = await ledger.write(*said)
    await folded(own, last)
    found = await explained(own, call=other)
    assert found["linked_ids"] == [one, other]
    first = last - len(said) + 1
    assert [event["position"] - first for event in found["events"]] == [0, 1, 3, 4, 5, 6]
    assert [record["position"] - first for record in found["records"]] == [3]


async def set_clock(ledger: Ledger, when: datetime) -> None:
    await ledger.connection.execute(
        f"CREATE OR REPLACE FUNCTION ledger.clock() RETURNS timestamptz LANGUAGE sql RETURN timestamptz '{when}'"
    )


def heard(block: bytes, when: datetime) -> NewEvent:
    name = block.split(b"\r\n", 1)[0].removeprefix(b"Event: ").decode()
    return NewEvent("ami", name, when.timestamp(), when.timestamp(), block)


def call(unique_id: str, when: datetime) -> list[NewEvent]:
    block = cdr(unique_id, unique_id).replace(b"2026-11-22 10:00", f"{when:%Y-%m-%d %H:%M}".encode())
    return [
        heard(channel("Newchannel", unique_id, unique_id), when),
        heard(block, when + timedelta(seconds=6)),
        heard(channel("Newstate", "7.7", "7.7"), when),
    ]


async def test_no_more_of_the_log_is_folded_than_it_takes(own: Client, ledger: Ledger) -> None:
    start = datetime(2031, 3, 1, 12, tzinfo=UTC)
    last = {}
    for number in range(12):
        when = start + timedelta(days=number)
        await set_clock(ledger, when + timedelta(seconds=8))
        said = call(f"{int(when.timestamp())}.1", when)
        if number == 0:
            said.append(heard(channel("Newchannel", "7.7", "7.7"), when))
        last[number] = await ledger.write(*said)
        if number == 5:  # somebody changes the oldest channel, and the next day's Newstate changes it back
            last[number] = await ledger.write(
                heard(channel("Hold", "7.7", "7.7").replace(b"7.7\r\nU", b"7\r\nU"), when)
            )
    await folded(own, last[11])

    found = await explained(own, statistics="2031-03-09")
    assert (found["exact"], found["value"]["calls"], len(found["events"])) == (True, 1, 1)
    assert (found["folded"]["after"], found["folded"]["upto"]) == (last[6], last[8])
    found = await explained(own, statistics="2031-03", member="calls")
    assert (found["exact"], found["value"], len(found["events"])) == (True, 12, 12)

    recent = json.dumps([f"{int((start + timedelta(days=11)).timestamp())}.1"])
    found = await explained(own, model="channels", key=recent)
    assert (found["exact"], found["folded"]) == (True, {"after": last[10], "upto": last[11], "events": 2})
    # Its last change alone does not make the oldest one: the fold begins earlier then.
    found = await explained(own, model="channels", key='["7.7"]')
    assert (found["exact"], found["folded"]["after"], found["folded"]["upto"]) == (True, 0, last[6])
    assert [event["name"] for event in found["events"]] == ["Newchannel", "Hold", "Newstate"]

    found = await explained(own, call=f"{int((start + timedelta(days=3)).timestamp())}.1")
    assert [event["position"] for event in found["events"]] == [last[3] - 2, last[3] - 1]
    assert found["scanned"] == 3


async def test_a_call_of_two_pbxes_must_be_told_apart(own: Client, ledger: Ledger) -> None:
    for pbx in ("a", "b"):
        last = await ledger.write(channel("Newchannel", "7.1", "7.1"), cdr("7.1", "7.1"), pbx=pbx)
    await folded(own, last)
    reply = await own.get(PATH, params={"call": "7.1"})
    assert (reply.status, (await reply.json())["message"]) == (400, "pbx: several PBXes have this call: a, b")
    found = await explained(own, call="7.1", pbx="b")
    assert {event["pbx"] for event in found["events"]} == {"b"}
    reply = await own.get(PATH, params={"model": "channels", "key": '["7.1"]'})
    assert (reply.status, (await reply.json())["message"]) == (400, "pbx: several PBXes have this row: a, b")
    found = await explained(own, model="channels", key='["7.1"]', pbx="a")
    assert [event["name"] for event in found["events"]] == ["Newchannel"]


async def test_a_served_row_that_nothing_in_the_log_explains_is_not_exact(own: Client, ledger: Ledger) -> None:
    last = await ledger.write(channel("Newchannel", "7.1", "7.1"), cdr("7.1", "7.1"))
    await folded(own, last)
    await ledger.connection.execute("UPDATE model.channels SET channel = 'PJSIP/forged'")
    await ledger.connection.execute("UPDATE model.statistics SET calls = 5")
    found = await explained(own, model="channels", key='["7.1"]')
    assert (found["exact"], found["row"]["channel"]) == (False, "PJSIP/forged")
    found = await explained(own, statistics="2026-11-22")
    assert (found["exact"], found["value"]["calls"]) == (False, 5)
    assert found["why"].startswith("The part of the log that was folded does not come to what is served")
    assert "positions are read" not in found["why"]


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
async def test_what_cannot_be_explained(client: Client, query: str, status: int) -> None:
    reply = await client.get(f"{PATH}?{query}")
    body = await reply.json()
    assert (reply.status, body["statuscode"]) == (status, status), body
    assert body["message"]
