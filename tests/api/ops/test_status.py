"""Gaps, status, readiness and metrics of the ledger itself."""

import asyncio
import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

import api
from api.app_keys import CHECKPOINTS
from api.ledger.status import handled_events
from api.ops.listeners import listener_report, read_status_file
from api.ops.log_counts import FREQUENT_NAMES, MAX_NAME_LENGTH
from api.ops.request_metrics import REQUEST_METRICS, count_requests
from projections import ALL
from projections.engine.subscriptions import SNAPSHOT_EVENTS
from projections.queues.agents import AGENTS
from schemas.log import (
    AriConnected,
    Connected,
    Disconnected,
    Minute,
    NewEvent,
    RingledgerEvent,
    SnapshotCompleted,
    SnapshotStarted,
)
from services.database.connection import connect
from services.database.heartbeat import Heartbeat
from services.database.pool import open_pool
from services.projector.checkpoints.watcher import CheckpointWatcher
from tests.support.api_client import Client, RecordedApi, Serve, admin_token
from tests.support.ledger import Ledger
from tests.support.log_clock import set_clock
from tests.support.status import INSERT_LISTENER, get_json, scrape

GRAFANA = Path(api.__file__).parent.parent / "docker" / "grafana"


async def wait_folded(client: Client, position: int) -> None:
    async with asyncio.timeout(300):
        await client.app[CHECKPOINTS].wait_folded([model.name for model in ALL], position)
    await client.app[CHECKPOINTS].refresh()


def event_at(when: str, event: RingledgerEvent) -> NewEvent:
    seconds = datetime.fromisoformat(when).timestamp()
    return NewEvent("ringledger", type(event).__name__, seconds, seconds, msgspec.json.encode(event))


def disconnected(reason: str, last_received: str) -> Disconnected:
    return Disconnected(reason, datetime.fromisoformat(last_received).timestamp())


async def write_gaps(client: Client, ledger: Ledger) -> list[int]:
    """Append three gaps and return their first positions.

    PBX a disconnects twice and is healed once; PBX b disconnects and stays down.
    """
    starts = []
    events: list[tuple[str, str, RingledgerEvent]] = [
        ("a", "2026-11-20T10:00:00Z", Connected("a:5038", "Asterisk Call Manager/11.0.0")),
        ("a", "2026-11-20T11:00:00.5Z", disconnected("cut", "2026-11-20T11:00:00.25Z")),
        ("a", "2026-11-20T11:00:10Z", Connected("a:5038", "Asterisk Call Manager/11.0.0")),
        ("a", "2026-11-20T11:00:11Z", SnapshotStarted(5)),
        ("a", "2026-11-20T11:00:12Z", SnapshotCompleted(5)),
        ("b", "2026-11-20T12:00:00Z", Connected("b:5038")),
        ("b", "2026-11-20T23:30:00Z", disconnected("gone", "2026-11-20T23:30:00Z")),
        ("a", "2026-11-22T23:59:59Z", disconnected("cut again", "2026-11-22T23:59:58Z")),
        ("a", "2026-11-23T00:00:00Z", Connected("a:5038")),
    ]
    last = 0
    for pbx, when, event in events:
        last = await ledger.write(event_at(when, event), pbx=pbx)
        if isinstance(event, Disconnected):
            starts.append(last)
    await wait_folded(client, last)
    return starts


async def test_gaps_have_start_end_duration_and_reason(client: Client, ledger: Ledger) -> None:
    first, second, third = await write_gaps(client, ledger)
    before = time.time()
    body = await get_json(client, "/v1/ledger/gaps")
    assert [gap["from_position"] for gap in body["gaps"]] == [first, second, third]
    assert body["gaps"][0] == {
        "pbx": "a",
        "from": "2026-11-20T11:00:00.250000Z",
        "until": "2026-11-20T11:00:10.000000Z",
        "healed": "2026-11-20T11:00:12.000000Z",
        "seconds": 9.75,
        "reason": "cut",
        "from_position": first,
        "until_position": first + 1,
    }
    open_gap = body["gaps"][1]
    assert (open_gap["until"], open_gap["until_position"], open_gap["healed"]) == (None, None, None)
    began = datetime(2026, 11, 20, 23, 30, tzinfo=UTC).timestamp()
    assert before - began <= open_gap["seconds"] <= time.time() - began
    assert (body["gaps"][2]["seconds"], body["gaps"][2]["healed"]) == (2.0, None)

    async def positions(**query: Any) -> list[int]:
        return [gap["from_position"] for gap in (await get_json(client, "/v1/ledger/gaps", **query))["gaps"]]

    assert await positions(pbx="a") == [first, third]
    assert await positions(pbx="nobody") == []
    assert await positions(**{"from": "2026-11-20T11:00:10Z"}) == [first, second, third]
    assert await positions(**{"from": "2026-11-20T11:00:10.000001Z"}) == [second, third]
    assert await positions(to="2026-11-20T11:00:00.25Z") == []
    assert await positions(to="2026-11-20T23:30:00.000001Z") == [first, second]
    assert await positions(**{"from": "2026-11-23T00:00:01Z", "to": "2026-11-24T00:00:00Z", "pbx": "b"}) == [second]
    page = await get_json(client, "/v1/ledger/gaps", limit=2)
    assert ([gap["from_position"] for gap in page["gaps"]], page["next"]) == ([first, second], second)
    page = await get_json(client, "/v1/ledger/gaps", limit=2, after=page["next"])
    assert ([gap["from_position"] for gap in page["gaps"]], page["next"]) == ([third], None)


@pytest.mark.parametrize(
    "query", ["from=x", "limit=0", "after=x", "from=2026-11-23T00:00:01Z&to=2026-11-23T00:00:00Z", "a=b"]
)
async def test_gaps_with_a_malformed_query_are_400(recorded: RecordedApi, query: str) -> None:
    reply = await recorded.client.get(f"/v1/ledger/gaps?{query}")
    assert (reply.status, (await reply.json())["statuscode"]) == (400, 400)


def cdr(day: str) -> bytes:
    return (
        f"Event: Cdr\r\nSource: 1\r\nChannel: PJSIP/1-1\r\nStartTime: {day} 10:00:00\r\nEndTime: {day} 10:00:05\r\n"
        f"Duration: 5\r\nBillableSeconds: 4\r\nDisposition: ANSWERED\r\nUniqueID: 1.1\r\n\r\n"
    ).encode()


async def test_statistics_are_incomplete_if_a_gap_overlaps(client: Client, ledger: Ledger) -> None:
    await write_gaps(client, ledger)
    for day in ("2026-11-19", "2026-11-20", "2026-11-22", "2026-10-31"):
        last = await ledger.write(cdr(day), pbx="a")
    await wait_folded(client, last)

    async def served(path: str, **query: Any) -> tuple[bool, list[str], int]:
        result = (await get_json(client, path, **query))["result"]
        assert result["complete"] is (result["gaps"] == [])
        return result["complete"], [gap["reason"] for gap in result["gaps"]], result["total"]["calls"]

    assert await served("/api/statistics/2026-11-19") == (True, [], 1)
    assert await served("/api/statistics/2026-11-20") == (False, ["cut", "gone"], 1)
    assert await served("/api/statistics/2026-11-20", pbx="a") == (False, ["cut"], 1)
    assert await served("/api/statistics/2026-11-22") == (False, ["gone", "cut again"], 1)
    assert await served("/api/usage/2026-11") == (False, ["cut", "gone", "cut again"], 3)
    assert await served("/api/usage/2026-10") == (True, [], 1)
    # On that day b had no link and a has no calls: the statistic is served, but incomplete.
    assert await served("/api/statistics/2026-11-21") == (False, ["gone"], 0)
    assert (await get_json(client, "/api/statistics/2026-11-21", 404, pbx="a"))["status"] == "empty-data"
    assert (await get_json(client, "/api/statistics/2026-11-18", 404))["status"] == "empty-data"


async def test_status_has_positions_links_and_unhandled_events(client: Client, ledger: Ledger) -> None:
    starts = await write_gaps(client, ledger)
    unhandled = [b"Event: Martian\r\nA: 1\r\n\r\n"] * 3
    await ledger.write(Minute(60, "up", 1), pbx="a")
    unfit = b"Event: Newchannel\r\nChannelState: abc\r\nUniqueid: 1.1\r\n\r\n"
    await ledger.write(*unhandled, unfit, NewEvent("ari", "Newchannel", None, time.time(), b"{}"), pbx="a")
    last = await ledger.write(unhandled[0], AriConnected("b:8088"), pbx="b")
    await wait_folded(client, last)
    status = await get_json(client, "/v1/ledger/status")
    head = await ledger.connection.fetchrow("SELECT position, hash FROM ledger.head")
    assert (status["head"]["position"], status["head"]["hash"]) == (last, head["hash"].hex())
    assert set(status["models"]) == {model.name for model in ALL}
    channels = status["models"]["channels"]
    assert (channels["position"], channels["lag_events"], channels["lag_ms"], channels["error"]) == (last, 0, 0, None)
    a, b = status["pbx"]["a"], status["pbx"]["b"]
    assert (a["link"], a["banner"], a["epoch"], a["last_snapshot"]) == ("up", "", 5, "2026-11-20T11:00:12.000000Z")
    assert (b["link"], b["since"], b["reason"]) == ("down", "2026-11-20T23:30:00.000000Z", "gone")
    assert (a["complete"], b["complete"]) == (False, False)
    names = {(one["source"], one["name"]): one for one in status["untaken"]}
    assert names["ami", "Martian"] == {
        "source": "ami",
        "name": "Martian",
        "count": 4,
        "last_position": last - 1,
        "pbx": ["a", "b"],
    }
    # No model handles ARI events, even if an AMI event of the same name is handled.
    assert names["ari", "Newchannel"]["count"] == 1
    assert ("ringledger", "AriConnected") in names
    assert not {("ami", "Newchannel"), ("ringledger", "Connected"), ("ringledger", "TokenIssued")} & set(names)
    assert [one for one in status["unfit"] if one["model"] == "channels"] == [
        {
            "model": "channels",
            "name": "Newchannel",
            "count": 1,
            "last_position": last - 3,
            "last_error": status["unfit"][0]["last_error"],
        }
    ]
    assert "ChannelState" in status["unfit"][0]["last_error"]
    month = status["months"][-1]
    assert (month["first_position"], month["last_position"]) == (1, last)
    assert month["month"] == f"{datetime.now(UTC):%Y-%m}"
    assert month["event_bytes"] > 8192 < month["batch_bytes"]
    assert starts[-1] < last


async def test_status_has_months_rebuilds_and_stopped_models(client: Client, ledger: Ledger) -> None:
    connection = ledger.connection
    await set_clock(connection, "2031-02-03")
    last = await ledger.write(b"Event: FullyBooted\r\n\r\n")
    await wait_folded(client, last)
    await connection.execute("UPDATE checkpoint SET error = 'position 1 (X): why' WHERE model = 'queues'")
    await connection.execute(
        "INSERT INTO checkpoint (model, place, version, position) VALUES ('agents', 'rebuild', 9, 1)"
    )
    status = await get_json(client, "/v1/ledger/status")
    this, other = status["months"][-2:]
    assert (other["month"], other["first_position"], other["last_position"]) == ("2031-02", last, last)
    assert (this["first_position"], this["last_position"]) == (1, last - 1)
    assert status["models"]["queues"]["error"] == "position 1 (X): why"
    assert status["rebuilding"] == [{"model": "agents", "version": 9, "position": 1, "error": None}]
    assert status["models"]["agents"]["version"] == AGENTS.version


async def test_status_queries_accept_an_empty_ledger(url: str) -> None:
    connection = await connect(url, search_path="model, ledger")
    from api.ledger import status

    assert [
        dict(row) for row in await connection.fetch(status.UNHANDLED, *handled_events(), status.MAX_UNHANDLED)
    ] == []
    assert (await connection.fetch(status.MONTHS))[0]["first_position"] is None
    await connection.close()


def test_handled_events_are_pairs_of_source_and_name() -> None:
    pairs = set(zip(*handled_events(), strict=True))
    assert {("ami", "Cdr"), ("ringledger", "Connected"), ("ringledger", "UserCreated")} <= pairs
    assert {("ringledger", name) for name in SNAPSHOT_EVENTS} <= pairs
    assert {name for _, name in pairs} == set().union(*(model.on for model in ALL)) | SNAPSHOT_EVENTS
    assert {source for source, _ in pairs} == {"ami", "queue_log", "ringledger"}


SPOOL = {"events": 7, "bytes": 900, "limit": 1000, "error": "disk full"}
FULL_STATUS = {"link": "up", "waiting": 3, "spool": SPOOL, "standby": ["other"]}


async def write_listeners(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    await ledger.connection.execute(INSERT_LISTENER, "a", "ami", 17, now, FULL_STATUS)
    await ledger.connection.execute(INSERT_LISTENER, "b", "ari", 0, now, {})


async def test_readyz_reads_spools_from_the_database(client: Client, ledger: Ledger) -> None:
    began = time.monotonic()
    await write_listeners(ledger)
    reply = await client.get("/readyz", headers={"Authorization": ""})
    body = await reply.json()
    assert (reply.status, body["listeners_from"]) == (503, "database")
    assert body["reasons"] == ["PBX a (ami): the spool refuses events: disk full"]
    a, b = body["listeners"]
    assert 0 <= a.pop("age") <= time.monotonic() - began + 0.1  # it is rounded
    listener = {"pbx": "a", "kind": "ami", "holding": True, "link": "up", "waiting": 3, "spool": SPOOL}
    assert a == {**listener, "paused": False, "stalled": 0.0, "clock_offset": None}
    assert (b["kind"], b["holding"], b["link"], b["spool"]["events"]) == ("ari", False, "down", 0)
    assert (await get_json(client, "/v1/ledger/status"))["listeners"][0]["spool"] == SPOOL


def write_status_file(folder: Path, age: float = 2.0) -> None:
    listener = {"pbx": "ü", "kind": "ami", "holding": True, "link": "up", "waiting": 1, "spool": SPOOL}
    (folder / "listeners.json").write_text(json.dumps({"at": time.time() - age, "listeners": [listener]}))


async def test_readyz_reads_the_file_while_postgresql_hangs(
    client: Client, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.ops.listeners.ANSWER_SECONDS", 0.5)
    await write_listeners(ledger)
    began = time.monotonic()
    write_status_file(tmp_path)
    blocker = await asyncpg.connect(ledger.url)
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE ledger.listener IN ACCESS EXCLUSIVE MODE")
        body = await asyncio.wait_for(get_json(client, "/readyz", 503), 300)
    await blocker.close()
    monkeypatch.setattr("api.ops.listeners.ANSWER_SECONDS", 60.0)
    assert body["listeners_from"] == "file"
    assert body["reasons"][0] == "the database does not answer"
    (only,) = body["listeners"]
    assert 2.0 <= only.pop("age") <= 2.1 + time.monotonic() - began  # it is rounded
    listener = {"pbx": "ü", "kind": "ami", "holding": True, "link": "up", "waiting": 1, "spool": SPOOL}
    assert only == {**listener, "paused": False, "stalled": 0.0, "clock_offset": None}
    assert (await get_json(client, "/readyz", 503))["listeners_from"] == "database"


async def test_readyz_sends_no_query_while_postgresql_is_unreachable(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_status_file(tmp_path)
    monkeypatch.setattr(CheckpointWatcher, "is_stale", property(lambda _: True))
    body = await get_json(client, "/readyz", 503)
    assert (body["listeners_from"], body["listeners"][0]["spool"]["error"]) == ("file", "disk full")
    assert body["reasons"][0] == "the database does not answer"


EMPTY_SPOOL = {"events": 0, "bytes": 0, "limit": 1000, "error": ""}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"spool": {**EMPTY_SPOOL, "error": "disk full"}}, "the spool refuses events: disk full"),
        ({"spool": {**EMPTY_SPOOL, "events": 2, "bytes": 1000}}, "the spool is full, 1000 of 1000 bytes"),
        ({"paused": True}, "the listener has paused reading"),
        ({"waiting": 3, "stalled": 31.0}, "3 events wait, none has reached the log for 31 s"),
    ],
)
async def test_readyz_names_why_events_are_stuck(
    client: Client, ledger: Ledger, state: dict[str, Any], reason: str
) -> None:
    status = {"link": "up", "waiting": 0, "spool": EMPTY_SPOOL, **state}
    await ledger.connection.execute(INSERT_LISTENER, "a", "ami", 17, datetime.now(UTC), status)
    assert (await get_json(client, "/readyz", 503))["reasons"] == [f"PBX a (ami): {reason}"]


@pytest.mark.parametrize(("holder", "age"), [(0, 0.0), (17, 100.0)])
async def test_readyz_ignores_listeners_that_do_not_run(
    client: Client, ledger: Ledger, holder: int, age: float
) -> None:
    renewed = datetime.now(UTC) - timedelta(seconds=age)
    await ledger.connection.execute(INSERT_LISTENER, "a", "ami", holder, renewed, FULL_STATUS)
    assert (await get_json(client, "/readyz"))["reasons"] == []


async def test_a_link_is_down_without_its_listener(client: Client, ledger: Ledger) -> None:
    await wait_folded(client, await ledger.write(Connected("a:1"), pbx="a"))
    status = {**FULL_STATUS, "spool": EMPTY_SPOOL}
    await ledger.connection.execute(INSERT_LISTENER, "a", "ami", 17, datetime.now(UTC) - timedelta(hours=1), status)
    body = await get_json(client, "/readyz")
    assert (body["links"]["a"]["state"], body["listeners"][0]["link"]) == ("down", "down")
    await ledger.connection.execute("UPDATE ledger.listener SET renewed = now()")
    body = await get_json(client, "/readyz")
    assert (body["links"]["a"]["state"], body["listeners"][0]["link"]) == ("up", "up")


async def test_a_link_without_recent_minutes_is_down(client: Client, ledger: Ledger) -> None:
    hour = timedelta(hours=1)
    connected = event_at((datetime.now(UTC) - hour).isoformat(), Connected("a:1"))
    await wait_folded(client, await ledger.write(connected, pbx="a"))
    assert (await get_json(client, "/readyz"))["links"]["a"]["state"] == "down"
    assert (await get_json(client, "/v1/ledger/status"))["pbx"]["a"]["link"] == "down"
    assert (await scrape(client))["ringledger_link_up"] == {("a",): 0.0}


async def test_a_missing_status_file_is_an_empty_report(tmp_path: Path) -> None:
    assert read_status_file(tmp_path / "listeners.json") == []
    url = "postgresql://nobody@127.0.0.1:1/none"
    pool = await open_pool(url, Heartbeat(url), size=1)
    report = await listener_report(pool, tmp_path, away=False)
    assert (report.source, report.listeners) == ("file", [])
    await pool.close()


async def test_metrics_cover_the_log_and_its_models(client: Client, ledger: Ledger) -> None:
    await write_gaps(client, ledger)
    await write_listeners(ledger)
    await ledger.write(Minute(60, "up", 1), pbx="a")
    last = await ledger.write(b"Event: Newchannel\r\nChannelState: abc\r\nUniqueid: 1.1\r\n\r\n", pbx='q"\\\nü')
    await wait_folded(client, last)
    series = await scrape(client)
    assert series["ringledger_database_up"][()] == series["ringledger_postgresql_up"][()] == 1
    assert series["ringledger_log_position"][()] == last
    counts = await ledger.connection.fetch("SELECT name, pbx, source, count FROM ledger.name")
    assert series["ringledger_events_total"] == {(r["name"], r["pbx"], r["source"]): r["count"] for r in counts}
    assert sum(series["ringledger_pbx_events_total"].values()) == last
    assert series["ringledger_pbx_events_total"]['q"\\\nü',] == 1
    assert set(series["ringledger_model_position"].values()) == {last}
    assert (
        set(series["ringledger_model_lag_events"].values()) == {0} == set(series["ringledger_model_stopped"].values())
    )
    assert len(series["ringledger_model_lag_seconds"]) == len(ALL)
    assert series["ringledger_unfit_events_total"]["channels",] == 1
    assert series["ringledger_link_up"] == {("a",): 1, ("b",): 0}
    assert series["ringledger_gaps_total"] == {("a",): 2, ("b",): 1}
    assert series["ringledger_gap_seconds_total"]["a",] == 11.75
    assert series["ringledger_spool_events"] == {("ami", "a"): 7}
    assert series["ringledger_spool_bytes"] == {("ami", "a"): 900}
    assert series["ringledger_spool_limit_bytes"] == {("ami", "a"): 1000}
    assert series["ringledger_spool_failed"] == {("ami", "a"): 1}
    assert series["process_resident_memory_bytes"][()] > 10_000_000


async def test_metrics_stay_bounded_with_invented_event_names(client: Client, ledger: Ledger) -> None:
    await ledger.connection.execute(
        "INSERT INTO ledger.name (pbx, source, name, count, last)"
        " SELECT 'a', 'ami', repeat('x', 500) || n, 1, 1 FROM generate_series(1, 300) n"
        " UNION ALL SELECT 'a', 'ami', 'n' || n, n, 1 FROM generate_series(1, 300000) n"
        " UNION ALL SELECT 'b', 'ami', 'other', 7, 1"
    )
    reply = await client.get("/metrics")
    assert len(await reply.read()) < 200_000
    events = (await scrape(client))["ringledger_events_total"]
    counts_of_a = {name: count for (name, pbx, source), count in events.items() if pbx == "a"}
    assert len(counts_of_a) == FREQUENT_NAMES + 1
    assert max(map(len, counts_of_a)) <= MAX_NAME_LENGTH
    assert counts_of_a["n300000"] == 300_000
    assert sum(counts_of_a.values()) == 300 + sum(range(1, 300_001))
    assert events["other", "b", "ami"] == 7
    assert ("other", "b", "other") not in events
    assert (await scrape(client))["ringledger_pbx_events_total"]["a",] == sum(counts_of_a.values())


async def test_metrics_are_encoded_outside_the_event_loop(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def text(_families: list[Metric], _process: CollectorRegistry) -> bytes:
        threads.append(threading.current_thread())
        return b""

    monkeypatch.setattr("api.ops.metrics._text", text)
    assert (await client.get("/metrics")).status == 200
    assert threads != [threading.current_thread()]


async def test_status_lists_frequent_names_and_counts_all(client: Client, ledger: Ledger) -> None:
    await ledger.connection.execute(
        "INSERT INTO ledger.name (pbx, source, name, count, last)"
        " SELECT 'a', 'ami', 'n' || n, 1000000 + n, 1 FROM generate_series(1, 1001) n"
    )
    status = await get_json(client, "/v1/ledger/status")
    assert len(status["untaken"]) == 1000
    assert status["untaken"][0]["name"] == "n1001"
    assert status["untaken_names"] > 1000


async def test_unknown_methods_are_counted_as_other(client: Client) -> None:
    measures = client.app[REQUEST_METRICS]
    request = make_mocked_request("BREW", "/healthz", app=client.app)

    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response()

    await count_requests(request, handler)
    methods = {method for _route, method, _status in measures.series}
    assert "other" in methods
    assert "BREW" not in methods


async def test_requests_are_counted_by_route_template(client: Client) -> None:
    before = (await scrape(client))["ringledger_http_requests_total"]
    for path in (
        "/v1/ledger/events/1",
        "/v1/ledger/events/2",
        "/v1/ledger/events/x",
        "/nothing/1",
        "/nothing/2",
        "/readyz",
    ):
        await client.get(path)
    await client.get("/v1/admin/core/channels", params={"wait": "0"})
    await client.post("/readyz")
    series = await scrape(client)
    after = series["ringledger_http_requests_total"]
    more = {key: value - before.get(key, 0) for key, value in after.items() if value > before.get(key, 0)}
    assert more == {
        ("GET", "/v1/ledger/events/{position}", "200"): 2,
        ("GET", "/v1/ledger/events/{position}", "400"): 1,
        ("GET", "none", "404"): 2,
        ("GET", "/readyz", "200"): 1,
        ("POST", "none", "405"): 1,
        ("GET", "/v1/admin/core/channels", "200"): 1,
        ("GET", "/metrics", "200"): 1,
    }
    assert series["ringledger_http_request_seconds_count"]["/v1/ledger/events/{position}",] == 3
    assert series["ringledger_http_request_seconds_count"]["/v1/admin/core/channels",] == 0


async def test_two_applications_count_separately(serve: Serve) -> None:
    one, other = await serve(), await serve()
    bearer = f"Bearer {await admin_token(one)}"
    await one.get("/healthz")
    for client in (one, other):
        client.session.headers["Authorization"] = bearer
    scrapes = [await scrape(client) for client in (one, other)]
    assert ("GET", "/healthz", "200") in scrapes[0]["ringledger_http_requests_total"]
    assert ("GET", "/healthz", "200") not in scrapes[1].get("ringledger_http_requests_total", {})


async def test_metrics_without_postgresql_cover_the_process(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any) -> None:
        raise ConnectionRefusedError

    write_status_file(tmp_path)
    monkeypatch.setattr("api.ops.metrics.count_log", refuse)
    series = await scrape(client)
    assert series["ringledger_database_up"][()] == series["ringledger_postgresql_up"][()] == 0
    assert "ringledger_log_position" not in series
    assert series["ringledger_spool_events"] == {("ami", "ü"): 7}
    assert series["process_resident_memory_bytes"][()] > 0


async def test_dashboard_queries_and_metrics_match(client: Client, ledger: Ledger) -> None:
    await write_gaps(client, ledger)
    await write_listeners(ledger)
    last = await ledger.write(b"Event: Newchannel\r\nChannelState: abc\r\nUniqueid: 1.1\r\n\r\n")
    await wait_folded(client, last)
    await scrape(client)
    series = await scrape(client)
    dashboard = json.loads((GRAFANA / "ringledger.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) > 10
    used = set()
    for query in queries:
        names = re.findall(r"\b(?:ringledger|process)_\w+", query)
        assert names, query
        assert set(names) <= set(series), query
        used |= set(names)
        for label in re.findall(r"by \(([^)]*)\)", query):
            assert set(label.split(", ")) <= {"pbx", "kind", "model", "name", "source", "route", "status", "le"}, query
    unused = {
        n for n in series if n.startswith("ringledger_") and not n.endswith(("_created", "_sum", "_count"))
    } - used
    assert unused == set()
