"""The log over HTTP: filters compared with SQL, pages, odd bytes, hostile parameters."""

import base64
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import msgspec
import pytest

from api.ledger import search
from schemas.log import NewEvent
from tests.support.api_client import Client, RecordedApi, Serve, serve_as_admin
from tests.support.ledger import Ledger

PATH = "/v1/ledger/events"
Events = list[dict[str, Any]]
NAMES = ["Newchannel", "Hangup", "Cdr"]


@pytest.fixture
async def client(recorded: RecordedApi) -> Client:
    return recorded.client


async def page(client: Client, **query: Any) -> dict[str, Any]:
    reply = await client.get(PATH, params=query)
    assert reply.status == 200, await reply.text()
    body: dict[str, Any] = msgspec.json.decode(await reply.read())
    assert int(reply.headers["X-Ledger-Position"]) == body["head"]
    return body


async def all_events(client: Client, **query: Any) -> Events:
    """Follow ``next`` to the end and return the events of all pages."""
    events: Events = []
    cursor: dict[str, Any] = {}
    while True:
        body = await page(client, **query, **cursor)
        events += body["events"]
        assert len(body["events"]) <= query.get("limit", 100)
        assert body["scanned"] <= search.MAX_SCANNED
        if body["next"] is None:
            return events
        assert body["next"] == body["scanned_to"]
        cursor = {"cursor": body["next"]}


def positions(events: Events) -> list[int]:
    return [event["position"] for event in events]


async def select_positions(connection: asyncpg.Connection, where: str, *args: Any) -> list[int]:
    rows = await connection.fetch(f"SELECT position FROM ledger.event WHERE {where} ORDER BY position", *args)
    assert rows
    return [row[0] for row in rows]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_to_the_end_give_every_event_once(recorded: RecordedApi, order: str) -> None:
    head = (await page(recorded.client, limit=1))["head"]
    assert head > 70_000
    last = head if order == "asc" else 35_000
    actual = positions(await all_events(recorded.client, order=order, limit=10_000, before=last + 1))
    assert actual == (list(range(1, last + 1)) if order == "asc" else list(range(last, 0, -1)))


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_small_pages_and_small_steps_miss_nothing(
    recorded: RecordedApi, monkeypatch: pytest.MonkeyPatch, order: str, limit: int
) -> None:
    monkeypatch.setattr(search, "MAX_STEP", 50)
    monkeypatch.setattr(search, "MAX_SCANNED", 170)
    monkeypatch.setattr(search, "MIN_STEP", 5)
    bounds = {"after": 1000, "before": 3000}
    expected = await select_positions(
        recorded.ledger.connection, "position > 1000 AND position < 3000 AND name = 'Newstate'"
    )
    events = await all_events(recorded.client, name="Newstate", order=order, limit=limit, **bounds)
    assert positions(events) == (expected if order == "asc" else expected[::-1])
    expected = [
        p
        for p in await positions_with_header(recorded.ledger.connection, "Uniqueid", "1795308986.30")
        if 1000 < p < 3000
    ]
    events = await all_events(recorded.client, uniqueid="1795308986.30", order=order, limit=limit, **bounds)
    assert positions(events) == (expected if order == "asc" else expected[::-1]) != []


async def test_a_search_stops_at_its_limit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_STEP", 300)
    monkeypatch.setattr(search, "MAX_SCANNED", 1000)
    body = await page(client, name="Nothing", after=5)
    assert body == {"events": [], "next": 1005, "scanned": 1000, "scanned_to": 1005, "head": body["head"]}
    body = await page(client, name="Nothing", order="desc", before=500)
    assert (body["next"], body["scanned"], body["scanned_to"]) == (None, 499, 1)
    body = await page(client, name="Nothing", after=body["head"] + 100)
    assert (body["next"], body["scanned"], body["scanned_to"]) == (None, 0, body["head"] + 100)


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"pbx": "rich16", "after": 60_000}, "pbx = 'rich16' AND position > 60000"),
        ({"pbx": ""}, "pbx = ''"),
        ({"name": "Cdr"}, "name = 'Cdr'"),
        ({"name": ["Cdr", "Newchannel"]}, "name IN ('Cdr', 'Newchannel')"),
        ({"source": "ringledger"}, "source = 'ringledger'"),
        ({"after": 70, "before": 90}, "position BETWEEN 71 AND 89"),
        ({"pbx": "rich22", "name": "Cdr", "after": 5000}, "pbx = 'rich22' AND name = 'Cdr' AND position > 5000"),
    ],
)
async def test_filters_select_by_pbx_name_source_and_position(
    recorded: RecordedApi, query: dict[str, Any], where: str
) -> None:
    expected = await select_positions(recorded.ledger.connection, where)
    for order in ("asc", "desc"):
        actual = positions(await all_events(recorded.client, limit=10_000, order=order, **query))
        assert actual == (expected if order == "asc" else expected[::-1])


async def test_times_select_to_the_microsecond(recorded: RecordedApi) -> None:
    connection = recorded.ledger.connection
    first, last = await connection.fetchrow(
        "SELECT min(recorded), max(recorded) FROM ledger.event WHERE name = ANY($1)", NAMES
    )
    between = first + (last - first) / 2
    for since, until in ((first, last), (first, None), (None, between), (between, None), (last, None)):
        where = "($1::timestamptz IS NULL OR recorded >= $1) AND ($2::timestamptz IS NULL OR recorded < $2)"
        query = {k: f"{v:%Y-%m-%dT%H:%M:%S.%fZ}" for k, v in (("from", since), ("to", until)) if v}
        actual = positions(await all_events(recorded.client, limit=10_000, name=NAMES, **query))
        assert actual == await select_positions(connection, f"name = ANY($3) AND {where}", since, until, NAMES)
    nothing = {"from": "2001-01-01T00:00:00Z", "to": "2001-01-02T00:00:00Z"}
    assert await all_events(recorded.client, **nothing) == []
    assert await all_events(recorded.client, **{"from": "2101-01-01T00:00:00+01:00"}) == []


async def positions_with_header(connection: asyncpg.Connection, ending: str, value: str) -> list[int]:
    """Return the positions of the events with such a header, by one regular expression over the bytes."""
    pattern = rf"\r\n[A-Za-z0-9]*{ending}: {value.replace('.', '[.]')}\r\n"
    return await select_positions(connection, "source = 'ami' AND convert_from(raw, 'LATIN1') ~* $1", pattern)


@pytest.mark.parametrize(("parameter", "ending"), [("uniqueid", "uniqueid"), ("linkedid", "linkedid")])
async def test_an_id_matches_in_every_header(recorded: RecordedApi, parameter: str, ending: str) -> None:
    connection = recorded.ledger.connection
    calls = await connection.fetch(
        "SELECT linked_id FROM call_records GROUP BY 1 HAVING count(DISTINCT unique_id) > 1 ORDER BY 1 LIMIT 6"
    )
    assert len(calls) == 6
    for (value,) in calls:
        expected = await positions_with_header(connection, ending, value)
        assert positions(await all_events(recorded.client, limit=10_000, **{parameter: value})) == expected


async def test_a_channel_matches_in_every_header_but_values(recorded: RecordedApi) -> None:
    connection = recorded.ledger.connection
    names = await connection.fetch(
        "SELECT destination_channel FROM call_records WHERE destination_channel <> '' GROUP BY 1 ORDER BY 1 LIMIT 10"
    )
    elsewhere = set()
    for (name,) in names:
        actual = set(positions(await all_events(recorded.client, limit=10_000, channel=name)))
        line = f": {name}\r\n".encode()
        rows = await connection.fetch(
            "SELECT position, raw FROM ledger.event WHERE position($1::bytea IN raw) > 0", line
        )
        assert actual <= {row["position"] for row in rows}
        for row in rows:
            if row["position"] not in actual:
                elsewhere |= {one.split(b":")[0] for one in row["raw"].split(b"\r\n") if one.endswith(line[:-2])}
    # Values of variables and arguments of applications are not channels of the event.
    assert elsewhere <= {b"Value", b"AppData", b"ChanVariable"}, elsewhere


async def test_an_event_must_match_all_filters(recorded: RecordedApi) -> None:
    row = await recorded.ledger.connection.fetchrow(
        "SELECT unique_id, linked_id, channel FROM call_records WHERE unique_id <> linked_id LIMIT 1"
    )
    query = {"uniqueid": row["unique_id"], "linkedid": row["linked_id"]}
    one, other = [set(positions(await all_events(recorded.client, limit=10_000, **{k: v}))) for k, v in query.items()]
    both = positions(await all_events(recorded.client, limit=10_000, **query))
    assert both == sorted(one & other) != []
    of_channel = set(positions(await all_events(recorded.client, limit=10_000, channel=row["channel"])))
    all_three = positions(await all_events(recorded.client, limit=10_000, channel=row["channel"], **query))
    assert all_three == sorted(one & other & of_channel) != []


async def lines(client: Client, **query: Any) -> list[dict[str, Any]]:
    reply = await client.get(PATH, params=query, headers={"Accept": "application/x-ndjson"})
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/x-ndjson")
    body = await reply.text()
    assert body.endswith("\n")
    return [json.loads(line) for line in body.splitlines()]


async def test_ndjson_has_equal_events_and_a_final_cursor(client: Client) -> None:
    whole = await page(client, name="Cdr", limit=10_000)
    *events, end = await lines(client, name="Cdr")
    assert events == whole["events"]
    assert end == {key: whole[key] for key in ("next", "scanned", "scanned_to", "head")}
    assert end["next"] is None
    *some, end = await lines(client, name="Cdr", limit=7, order="desc")
    assert some == whole["events"][:-8:-1]
    *more, end = await lines(client, name="Cdr", order="desc", cursor=end["next"])
    assert some + more == whole["events"][::-1]
    by_name = await client.get(PATH, params={"format": "json", "limit": 1}, headers={"Accept": "application/x-ndjson"})
    assert by_name.content_type == "application/json"


async def test_ndjson_stops_at_the_scan_limit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_SCANNED", 12_000)
    *events, end = await lines(client, format="ndjson")
    assert positions(events) == list(range(1, 12_001))
    assert (end["next"], end["scanned"]) == (12_000, 12_000)
    reply = await client.head(PATH, params={"format": "ndjson"})
    assert (reply.status, await reply.read()) == (200, b"")


async def test_ndjson_is_aborted_if_postgresql_fails(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = search.Search.pages

    async def fail(self: search.Search, limit: int | None) -> AsyncIterator[list[Any]]:
        async for page in whole(self, limit):
            yield page
            raise ConnectionRefusedError

    monkeypatch.setattr(search.Search, "pages", fail)
    reply = await client.get(PATH, params={"format": "ndjson"})
    assert reply.status == 200
    with pytest.raises(aiohttp.ClientError):
        await reply.read()
    assert (await client.get(PATH)).status == 503
    monkeypatch.setattr(search, "BOUNDS", "SELECT nothing")
    monkeypatch.setattr(search.Search, "pages", whole)
    reply = await client.get(PATH, params={"format": "ndjson"})
    assert (reply.status, (await reply.json())["message"]) == (500, "internal error")


async def test_an_event_has_all_columns_of_the_log(recorded: RecordedApi) -> None:
    connection = recorded.ledger.connection
    event = (await page(recorded.client, name="Cdr", limit=1))["events"][0]
    row = await connection.fetchrow("SELECT * FROM ledger.event WHERE position = $1", event["position"])
    assert {key: event[key] for key in ("pbx", "connection", "ordinal", "source", "name")} == {
        key: row[key] for key in ("pbx", "connection", "ordinal", "source", "name")
    }
    for name in ("occurred", "recorded"):
        assert event[name] == f"{row[name]:%Y-%m-%dT%H:%M:%S.%fZ}"
    appended = await connection.fetchval(
        "SELECT appended FROM ledger.batch WHERE $1 BETWEEN first AND last", event["position"]
    )
    assert event["appended"] == f"{appended:%Y-%m-%dT%H:%M:%S.%fZ}"
    assert (event["raw"].encode(), event["encoding"]) == (row["raw"], "utf-8")
    assert "".join(f"{name}: {value}\r\n" for name, value in event["headers"]) + "\r\n" == event["raw"]


@pytest.fixture
async def own_client(serve: Serve) -> Client:
    return await serve_as_admin(serve)


def ami(raw: bytes, name: str = "Odd", recorded: float | None = None) -> NewEvent:
    return NewEvent("ami", name, None, time.time() if recorded is None else recorded, raw)


def channel_event(unique_id: str) -> NewEvent:
    return ami(f"Event: Odd\r\nChannel: PJSIP/1-1\r\nUniqueid: {unique_id}\r\nAfter: 1\r\n\r\n".encode())


async def test_binary_bytes_are_served_as_base64(own_client: Client, ledger: Ledger) -> None:
    raw = b"\r\nEvent: Odd\r\nName: M\xfcller\r\nName: \r\nNo space:x\r\nno colon\r\nUniqueid: 1\xff2\r\n\r\n"
    last = await ledger.write(ami(raw), ami("Event: Odd\r\nName: Jürgen 📞\r\n\r\n".encode()))
    broken, whole = (await page(own_client, name="Odd"))["events"]
    assert broken["encoding"] == "base64"
    assert base64.b64decode(broken["raw"]) == raw
    assert broken["headers"] == [
        ["Event", "Odd"],
        ["Name", "M\ufffdller"],
        ["Name", ""],
        ["No space", "x"],
        ["no colon", None],
        ["Uniqueid", "1\ufffd2"],
    ]
    assert (whole["position"], whole["encoding"]) == (last, "utf-8")
    assert ["Name", "Jürgen 📞"] in whole["headers"]
    assert [json.dumps(e) for e in (await lines(own_client, name="Odd"))[:-1]] == [
        json.dumps(e) for e in (broken, whole)
    ]


async def test_json_events_are_served_as_json_and_searched(own_client: Client, ledger: Ledger) -> None:
    pretty = '{\n  "type": "StasisStart",\n "channel": {"id": "17.1", "name": "PJSIP/ü-1", "id": "17.2"}\n}'.encode()
    escaped = rb'{"type": "StasisEnd", "channel": {"id": "17\u002e1", "name": "PJSIP\/\u00fc-1"}}'
    bridge = b'{"type": "BridgeDestroyed", "bridge": {"channels": ["17.1", "17.3"], "name": 17.1}}'
    no_json, no_text = b'{"type": "Broken", "id": "17.1"', b'{"type": "Broken", "id": "17.1\xff"}'
    events_sent = (
        ("StasisStart", pretty),
        ("StasisEnd", escaped),
        ("Other", bridge),
        ("Broken", no_json),
        ("Broken", no_text),
    )
    await ledger.write(*(NewEvent("ari", name, None, time.time(), raw) for name, raw in events_sent))
    events = await all_events(own_client, source="ari")
    assert [event["raw"].encode() for event in events[:4]] == [pretty, escaped, bridge, no_json]
    assert base64.b64decode(events[4]["raw"]) == no_text
    assert events[0]["headers"] == json.loads(pretty)
    assert [event["headers"] for event in events[3:]] == [None, None]
    ndjson = await lines(own_client, source="ari")
    assert [event["position"] for event in ndjson[:-1]] == positions(events)
    assert positions(await all_events(own_client, uniqueid="17.1")) == positions(events[1:3])
    assert positions(await all_events(own_client, uniqueid="17.2")) == positions(events[:1])
    assert positions(await all_events(own_client, channel="PJSIP/ü-1")) == positions(events[:2])


async def test_the_fields_of_imported_lines_are_searched(own_client: Client, ledger: Ledger) -> None:
    csv = b'"","100","200","lab","""A, B"" <100>","PJSIP/100-1","","Dial","PJSIP/200","17.1","x"\n'
    queue_log = b"1795308983|17.1|support|PJSIP/200|CONNECT|3|17.2|2\n"
    await ledger.write(
        NewEvent("cdr_csv", "Cdr", None, time.time(), csv),
        NewEvent("queue_log", "CONNECT", None, time.time(), queue_log),
    )
    events = await all_events(own_client, source="cdr_csv") + await all_events(own_client, source="queue_log")
    assert events[0]["headers"][4] == '"A, B" <100>'
    assert events[1]["headers"] == queue_log.decode().strip().split("|")
    assert positions(await all_events(own_client, uniqueid="17.1")) == positions(events)
    assert positions(await all_events(own_client, channel="PJSIP/100-1")) == positions(events[:1])
    assert await all_events(own_client, uniqueid="17") == []


HOSTILE = [
    "%",
    "%%%_%",
    "_",
    "1_9",
    "\\",
    "1\\%9",
    "\\x31",
    "' OR 1=1 --",
    '"',
    '{"id": 1}',
    "1.9; DROP TABLE ledger.event",
    "ü📞",
    ":",
    ": 1",
    "$1",
    "a" * 5000,
]


async def test_a_hostile_id_matches_itself_only(own_client: Client, ledger: Ledger) -> None:
    last = await ledger.write(*map(channel_event, [*HOSTILE, "1.9", "1x9", "129"]))
    first = last - len(HOSTILE) - 2
    for number, value in enumerate(HOSTILE):
        events = await all_events(own_client, uniqueid=value)
        assert positions(events) == [first + number], value
        assert ["Uniqueid", value] in events[0]["headers"]
    for value in ("Odd", "1", "9", "\r\n", "1.9\r\nAfter: 1", "Uniqueid", "PJSIP/1-1", "1_9%"):
        assert await all_events(own_client, uniqueid=value) == [], value
    assert await ledger.connection.fetchval("SELECT count(*) FROM ledger.event WHERE name = 'Odd'") == len(HOSTILE) + 3


async def test_a_spooled_event_matches_at_its_recorded_time(own_client: Client, ledger: Ledger) -> None:
    now = time.time()
    ages = [0, 0, 3600, 3601, 7200, 0, -200, 0]
    appended = [await ledger.write(ami(b"Event: Odd\r\n\r\n", recorded=now - age)) for age in ages]

    async def between(oldest: float, newest: float) -> list[int]:
        since, until = (datetime.fromtimestamp(now - age, UTC) for age in (oldest, newest))
        query = {"name": "Odd", "from": since.isoformat(), "to": until.isoformat()}
        actual = positions(await all_events(own_client, **query))
        assert positions(await all_events(own_client, **query, order="desc", limit=1)) == actual[::-1]
        return actual

    assert await between(3700, 3500) == appended[2:4]
    assert await between(7200, 3600.5) == appended[3:5]
    assert await between(7300, 3600) == appended[3:5]
    assert await between(10, -10) == [appended[n] for n in (0, 1, 5, 7)]
    assert await between(-199, -201) == [appended[6]]
    assert await between(8000, -300) == appended
    body = await page(
        own_client, **{"from": (datetime.fromtimestamp(now, UTC) - timedelta(hours=3)).isoformat(), "limit": 1000}
    )
    assert body["next"] is None
    assert positions([e for e in body["events"] if e["name"] == "Odd"]) == appended


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=10001",
        "limit=x",
        "limit=-1",
        "limit=%C2%B2",
        "limit=1&limit=2",
        "order=up",
        "order=",
        "format=xml",
        "source=sip",
        "after=x",
        "after=-1",
        "before=1.5",
        "cursor=99999999999999999999",
        "from=yesterday",
        "from=2026-11-23",
        "from=2026-11-23T10:00:00",
        "from=2026-13-23T10:00:00Z",
        "to=0001-01-01T00:00:00%2B10:00",
        "to=9999-12-31T23:59:59-10:00",
        "uniqueid=",
        "channel=%00",
        "name=%00",
        "uniqueid=1&uniqueid=2",
        "unique_id=1.1",
        "linkedid=1&limt=5",
    ],
)
async def test_an_invalid_parameter_is_400_in_the_envelope(client: Client, query: str) -> None:
    for form in ("", "&format=ndjson") if not query.startswith("format") else ("",):
        reply = await client.get(f"{PATH}?{query}{form}")
        body = await reply.json()
        assert (reply.status, body["statuscode"]) == (400, 400)
        assert body["message"]


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        f"{PATH}?format=ndjson",
        f"{PATH}/1",
        "/v1/ledger/gaps",
        "/v1/ledger/status",
        "/v1/ledger/explain",
        "/metrics",
    ],
)
async def test_the_ledger_requires_a_login(client: Client, path: str) -> None:
    for credentials in ("", "Bearer 7ac326bf-e146-493a-b9c7-bfb990264b59"):
        reply = await client.get(path, headers={"Authorization": credentials})
        assert (reply.status, (await reply.json())["statuscode"]) == (401, 401)
    assert (await client.post(path)).status == 405
