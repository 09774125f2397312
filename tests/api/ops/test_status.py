"""Gaps, status, readiness and metrics: what is said of how the ledger itself does."""

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
from prometheus_client.parser import text_string_to_metric_families

import api
from api.app_keys import CHECKPOINTS
from api.ledger.status import handled_events
from api.ops.listeners import listener_report, read_status_file
from api.ops.log_counts import LARGEST_NAMES, NAME_LETTERS
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
from services.projector.checkpoint_watcher import CheckpointWatcher
from tests.support.api_client import Client, RecordedApi, Serve, admin_token
from tests.support.ledger import Ledger

GRAFANA = Path(api.__file__).parent.parent / "docker" / "grafana"


async def get(client: Client, path: str, status: int = 200, **query: Any) -> dict[str, Any]:
    reply = await client.get(path, params=query)
    assert reply.status == status, await reply.text()
    found: dict[str, Any] = await reply.json()
    return found


async def folded(client: Client, position: int) -> None:
    async with asyncio.timeout(300):
        await client.app[CHECKPOINTS].wait_folded([model.name for model in ALL], position)
    await client.app[CHECKPOINTS].refresh()


def at(when: str, event: RingledgerEvent) -> NewEvent:
    seconds = datetime.fromisoformat(when).timestamp()
    return NewEvent("ringledger", type(event).__name__, seconds, seconds, msgspec.json.encode(event))


def lost(reason: str, heard: str) -> Disconnected:
    return Disconnected(reason, datetime.fromisoformat(heard).timestamp())


async def with_gaps(client: Client, ledger: Ledger) -> list[int]:
    """Write three gaps: a is lost twice, and healed once; b is lost and stays so. Return where they begin."""
    opened = []
    story: list[tuple[str, str, RingledgerEvent]] = [
        ("a", "2026-11-20T10:00:00Z", Connected("a:5038", "Asterisk Call Manager/11.0.0")),
        ("a", "2026-11-20T11:00:00.5Z", lost("cut", "2026-11-20T11:00:00.25Z")),
        ("a", "2026-11-20T11:00:10Z", Connected("a:5038", "Asterisk Call Manager/11.0.0")),
        ("a", "2026-11-20T11:00:11Z", SnapshotStarted(5)),
        ("a", "2026-11-20T11:00:12Z", SnapshotCompleted(5)),
        ("b", "2026-11-20T12:00:00Z", Connected("b:5038")),
        ("b", "2026-11-20T23:30:00Z", lost("gone", "2026-11-20T23:30:00Z")),
        ("a", "2026-11-22T23:59:59Z", lost("cut again", "2026-11-22T23:59:58Z")),
        ("a", "2026-11-23T00:00:00Z", Connected("a:5038")),
    ]
    last = 0
    for pbx, when, event in story:
        last = await ledger.write(at(when, event), pbx=pbx)
        if isinstance(event, Disconnected):
            opened.append(last)
    await folded(client, last)
    return opened


async def test_gaps_say_when_how_long_and_why(client: Client, ledger: Ledger) -> None:
    first, second, third = await with_gaps(client, ledger)
    before = time.time()
    found = await get(client, "/v1/ledger/gaps")
    assert [gap["from_position"] for gap in found["gaps"]] == [first, second, third]
    assert found["gaps"][0] == {
        "pbx": "a",
        "from": "2026-11-20T11:00:00.250000Z",
        "until": "2026-11-20T11:00:10.000000Z",
        "healed": "2026-11-20T11:00:12.000000Z",
        "seconds": 9.75,
        "reason": "cut",
        "from_position": first,
        "until_position": first + 1,
    }
    still = found["gaps"][1]
    assert (still["until"], still["until_position"], still["healed"]) == (None, None, None)
    began = datetime(2026, 11, 20, 23, 30, tzinfo=UTC).timestamp()
    assert before - began <= still["seconds"] <= time.time() - began
    assert (found["gaps"][2]["seconds"], found["gaps"][2]["healed"]) == (2.0, None)

    async def only(**query: Any) -> list[int]:
        return [gap["from_position"] for gap in (await get(client, "/v1/ledger/gaps", **query))["gaps"]]

    assert await only(pbx="a") == [first, third]
    assert await only(pbx="nobody") == []
    assert await only(**{"from": "2026-11-20T11:00:10Z"}) == [first, second, third]
    assert await only(**{"from": "2026-11-20T11:00:10.000001Z"}) == [second, third]
    assert await only(to="2026-11-20T11:00:00.25Z") == []
    assert await only(to="2026-11-20T23:30:00.000001Z") == [first, second]
    assert await only(**{"from": "2026-11-23T00:00:01Z", "to": "2026-11-24T00:00:00Z", "pbx": "b"}) == [second]
    page = await get(client, "/v1/ledger/gaps", limit=2)
    assert ([gap["from_position"] for gap in page["gaps"]], page["next"]) == ([first, second], second)
    page = await get(client, "/v1/ledger/gaps", limit=2, after=page["next"])
    assert ([gap["from_position"] for gap in page["gaps"]], page["next"]) == ([third], None)


@pytest.mark.parametrize(
    "query", ["from=x", "limit=0", "after=x", "from=2026-11-23T00:00:01Z&to=2026-11-23T00:00:00Z", "a=b"]
)
async def test_gaps_refuse_nonsense(recorded: RecordedApi, query: str) -> None:
    reply = await recorded.client.get(f"/v1/ledger/gaps?{query}")
    assert (reply.status, (await reply.json())["statuscode"]) == (400, 400)


def cdr(day: str) -> bytes:
    return (
        f"Event: Cdr\r\nSource: 1\r\nChannel: PJSIP/1-1\r\nStartTime: {day} 10:00:00\r\nEndTime: {day} 10:00:05\r\n"
        f"Duration: 5\r\nBillableSeconds: 4\r\nDisposition: ANSWERED\r\nUniqueID: 1.1\r\n\r\n"
    ).encode()


async def test_statistics_whose_window_touches_a_gap_are_not_complete(client: Client, ledger: Ledger) -> None:
    await with_gaps(client, ledger)
    for day in ("2026-11-19", "2026-11-20", "2026-11-22", "2026-10-31"):
        last = await ledger.write(cdr(day), pbx="a")
    await folded(client, last)

    async def served(path: str, **query: Any) -> tuple[bool, list[str], int]:
        result = (await get(client, path, **query))["result"]
        assert result["complete"] is (result["gaps"] == [])
        return result["complete"], [gap["reason"] for gap in result["gaps"]], result["total"]["calls"]

    assert await served("/api/statistics/2026-11-19") == (True, [], 1)
    assert await served("/api/statistics/2026-11-20") == (False, ["cut", "gone"], 1)
    assert await served("/api/statistics/2026-11-20", pbx="a") == (False, ["cut"], 1)
    assert await served("/api/statistics/2026-11-22") == (False, ["gone", "cut again"], 1)
    assert await served("/api/usage/2026-11") == (False, ["cut", "gone", "cut again"], 3)
    assert await served("/api/usage/2026-10") == (True, [], 1)
    # Nobody heard b on that day, and of a nothing is known: not nothing, but nothing complete.
    assert await served("/api/statistics/2026-11-21") == (False, ["gone"], 0)
    assert (await get(client, "/api/statistics/2026-11-21", 404, pbx="a"))["status"] == "empty-data"
    assert (await get(client, "/api/statistics/2026-11-18", 404))["status"] == "empty-data"


async def test_status_says_how_far_all_has_come(client: Client, ledger: Ledger) -> None:
    opened = await with_gaps(client, ledger)
    strange = [b"Event: Martian\r\nA: 1\r\n\r\n"] * 3
    await ledger.write(Minute(60, "up", 1), pbx="a")
    unfit = b"Event: Newchannel\r\nChannelState: abc\r\nUniqueid: 1.1\r\n\r\n"
    await ledger.write(*strange, unfit, NewEvent("ari", "Newchannel", None, time.time(), b"{}"), pbx="a")
    last = await ledger.write(strange[0], AriConnected("b:8088"), pbx="b")
    await folded(client, last)
    found = await get(client, "/v1/ledger/status")
    head = await ledger.connection.fetchrow("SELECT position, hash FROM ledger.head")
    assert (found["head"]["position"], found["head"]["hash"]) == (last, head["hash"].hex())
    assert set(found["models"]) == {model.name for model in ALL}
    channels = found["models"]["channels"]
    assert (channels["position"], channels["lag_events"], channels["lag_ms"], channels["error"]) == (last, 0, 0, None)
    a, b = found["pbx"]["a"], found["pbx"]["b"]
    assert (a["link"], a["banner"], a["epoch"], a["last_snapshot"]) == ("up", "", 5, "2026-11-20T11:00:12.000000Z")
    assert (b["link"], b["since"], b["reason"]) == ("down", "2026-11-20T23:30:00.000000Z", "gone")
    assert (a["complete"], b["complete"]) == (False, False)
    untaken = {(one["source"], one["name"]): one for one in found["untaken"]}
    assert untaken["ami", "Martian"] == {
        "source": "ami",
        "name": "Martian",
        "count": 4,
        "last_position": last - 1,
        "pbx": ["a", "b"],
    }
    # What ARI says is no model's, even under the name of an event of AMI's that is.
    assert untaken["ari", "Newchannel"]["count"] == 1
    assert ("ringledger", "AriConnected") in untaken
    assert not {("ami", "Newchannel"), ("ringledger", "Connected"), ("ringledger", "TokenIssued")} & set(untaken)
    assert [one for one in found["unfit"] if one["model"] == "channels"] == [
        {
            "model": "channels",
            "name": "Newchannel",
            "count": 1,
            "last_position": last - 3,
            "last_error": found["unfit"][0]["last_error"],
        }
    ]
    assert "ChannelState" in found["unfit"][0]["last_error"]
    month = found["months"][-1]
    assert (month["first_position"], month["last_position"]) == (1, last)
    assert month["month"] == f"{datetime.now(UTC):%Y-%m}"
    assert month["event_bytes"] > 8192 < month["batch_bytes"]
    assert opened[-1] < last


async def test_status_tells_months_rebuilds_and_models_that_stopped(client: Client, ledger: Ledger) -> None:
    connection = ledger.connection
    await connection.execute(
        "CREATE OR REPLACE FUNCTION ledger.clock() RETURNS timestamptz LANGUAGE sql RETURN timestamptz '2031-02-03'"
    )
    last = await ledger.write(b"Event: FullyBooted\r\n\r\n")
    await folded(client, last)
    await connection.execute("UPDATE checkpoint SET error = 'position 1 (X): why' WHERE model = 'queues'")
    await connection.execute(
        "INSERT INTO checkpoint (model, place, version, position) VALUES ('agents', 'rebuild', 9, 1)"
    )
    found = await get(client, "/v1/ledger/status")
    this, other = found["months"][-2:]
    assert (other["month"], other["first_position"], other["last_position"]) == ("2031-02", last, last)
    assert (this["first_position"], this["last_position"]) == (1, last - 1)
    assert found["models"]["queues"]["error"] == "position 1 (X): why"
    assert found["rebuilding"] == [{"model": "agents", "version": 9, "position": 1, "error": None}]
    assert found["models"]["agents"]["version"] == AGENTS.version


async def test_an_empty_ledger_has_a_status(url: str) -> None:
    connection = await connect(url, search_path="model, ledger")
    from api.ledger import status

    assert [
        dict(row) for row in await connection.fetch(status.UNHANDLED, *handled_events(), status.MAX_UNHANDLED)
    ] == []
    assert (await connection.fetch(status.MONTHS))[0]["first_position"] is None
    await connection.close()


def test_what_models_take_is_known_by_source() -> None:
    pairs = set(zip(*handled_events(), strict=True))
    assert {("ami", "Cdr"), ("ringledger", "Connected"), ("ringledger", "UserCreated")} <= pairs
    assert {("ringledger", name) for name in SNAPSHOT_EVENTS} <= pairs
    assert {name for _, name in pairs} == set().union(*(model.on for model in ALL)) | SNAPSHOT_EVENTS
    assert {source for source, _ in pairs} == {"ami", "ringledger"}


LISTENER = "INSERT INTO ledger.listener (pbx, kind, holder, host, renewed, status) VALUES ($1, $2, $3, 'h', $4, $5)"
SPOOL = {"events": 7, "bytes": 900, "limit": 1000, "error": "disk full"}
SAID = {"link": "up", "waiting": 3, "spool": SPOOL, "standby": ["other"]}


async def with_listeners(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    await ledger.connection.execute(LISTENER, "a", "ami", 17, now, SAID)
    await ledger.connection.execute(LISTENER, "b", "ari", 0, now, {})


async def test_readiness_shows_spools_from_the_database(client: Client, ledger: Ledger) -> None:
    began = time.monotonic()
    await with_listeners(ledger)
    reply = await client.get("/readyz", headers={"Authorization": ""})
    found = await reply.json()
    assert (reply.status, found["listeners_from"]) == (503, "database")
    assert found["reasons"] == ["PBX a (ami): the spool refuses events: disk full"]
    a, b = found["listeners"]
    assert 0 <= a.pop("age") <= time.monotonic() - began + 0.1  # it is rounded
    listener = {"pbx": "a", "kind": "ami", "holding": True, "link": "up", "waiting": 3, "spool": SPOOL}
    assert a == {**listener, "paused": False, "stalled": 0.0, "clock_offset": None}
    assert (b["kind"], b["holding"], b["link"], b["spool"]["events"]) == ("ari", False, "down", 0)
    assert (await get(client, "/v1/ledger/status"))["listeners"][0]["spool"] == SPOOL


def board(folder: Path, age: float = 2.0) -> None:
    one = {"pbx": "ü", "kind": "ami", "holding": True, "link": "up", "waiting": 1, "spool": SPOOL}
    (folder / "listeners.json").write_text(json.dumps({"at": time.time() - age, "listeners": [one]}))


async def test_readiness_shows_spools_from_the_file_when_postgresql_does_not_answer(
    client: Client, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.ops.listeners.ANSWER_SECONDS", 0.5)
    await with_listeners(ledger)
    began = time.monotonic()
    board(tmp_path)
    locking = await asyncpg.connect(ledger.url)
    async with locking.transaction():
        await locking.execute("LOCK TABLE ledger.listener IN ACCESS EXCLUSIVE MODE")
        found = await asyncio.wait_for(get(client, "/readyz", 503), 300)
    await locking.close()
    monkeypatch.setattr("api.ops.listeners.ANSWER_SECONDS", 60.0)
    assert found["listeners_from"] == "file"
    assert found["reasons"][0] == "the database does not answer"
    (only,) = found["listeners"]
    assert 2.0 <= only.pop("age") <= 2.1 + time.monotonic() - began  # it is rounded
    listener = {"pbx": "ü", "kind": "ami", "holding": True, "link": "up", "waiting": 1, "spool": SPOOL}
    assert only == {**listener, "paused": False, "stalled": 0.0, "clock_offset": None}
    assert (await get(client, "/readyz", 503))["listeners_from"] == "database"


async def test_a_database_that_is_away_is_not_asked(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board(tmp_path)
    monkeypatch.setattr(CheckpointWatcher, "is_stale", property(lambda _: True))
    found = await get(client, "/readyz", 503)
    assert (found["listeners_from"], found["listeners"][0]["spool"]["error"]) == ("file", "disk full")
    assert found["reasons"][0] == "the database does not answer"


QUIET = {"events": 0, "bytes": 0, "limit": 1000, "error": ""}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"spool": {**QUIET, "error": "disk full"}}, "the spool refuses events: disk full"),
        ({"spool": {**QUIET, "events": 2, "bytes": 1000}}, "the spool is full, 1000 of 1000 bytes"),
        ({"paused": True}, "the listener has paused reading"),
        ({"waiting": 3, "stalled": 31.0}, "3 events wait, none has reached the log for 31 s"),
    ],
)
async def test_readiness_names_why_events_are_stuck(
    client: Client, ledger: Ledger, state: dict[str, Any], reason: str
) -> None:
    said = {"link": "up", "waiting": 0, "spool": QUIET, **state}
    await ledger.connection.execute(LISTENER, "a", "ami", 17, datetime.now(UTC), said)
    assert (await get(client, "/readyz", 503))["reasons"] == [f"PBX a (ami): {reason}"]


@pytest.mark.parametrize(("holder", "age"), [(0, 0.0), (17, 100.0)])
async def test_readiness_ignores_listeners_that_do_not_listen(
    client: Client, ledger: Ledger, holder: int, age: float
) -> None:
    renewed = datetime.now(UTC) - timedelta(seconds=age)
    await ledger.connection.execute(LISTENER, "a", "ami", holder, renewed, SAID)
    assert (await get(client, "/readyz"))["reasons"] == []


async def test_no_link_is_up_without_its_listener(client: Client, ledger: Ledger) -> None:
    await folded(client, await ledger.write(Connected("a:1"), pbx="a"))
    said = {**SAID, "spool": QUIET}
    await ledger.connection.execute(LISTENER, "a", "ami", 17, datetime.now(UTC) - timedelta(hours=1), said)
    found = await get(client, "/readyz")
    assert (found["links"]["a"]["state"], found["listeners"][0]["link"]) == ("down", "down")
    await ledger.connection.execute("UPDATE ledger.listener SET renewed = now()")
    found = await get(client, "/readyz")
    assert (found["links"]["a"]["state"], found["listeners"][0]["link"]) == ("up", "up")


async def test_a_link_without_a_minute_for_long_is_down(client: Client, ledger: Ledger) -> None:
    hour = timedelta(hours=1)
    connected = at((datetime.now(UTC) - hour).isoformat(), Connected("a:1"))
    await folded(client, await ledger.write(connected, pbx="a"))
    assert (await get(client, "/readyz"))["links"]["a"]["state"] == "down"
    assert (await get(client, "/v1/ledger/status"))["pbx"]["a"]["link"] == "down"
    assert (await scraped(client))["ringledger_link_up"] == {("a",): 0.0}


async def test_where_no_listener_ever_ran_there_is_no_file(tmp_path: Path) -> None:
    assert read_status_file(tmp_path / "listeners.json") == []
    url = "postgresql://nobody@127.0.0.1:1/none"
    pool = await open_pool(url, Heartbeat(url), size=1)
    found = await listener_report(pool, tmp_path, away=False)
    assert (found.source, found.listeners) == ("file", [])
    await pool.close()


Series = dict[str, dict[tuple[str, ...], float]]


async def scraped(client: Client) -> Series:
    reply = await client.get("/metrics")
    assert (reply.status, reply.content_type) == (200, "text/plain")
    series: Series = {}
    for family in text_string_to_metric_families(await reply.text()):
        assert family.documentation
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            assert labels not in series.setdefault(sample.name, {})
            series[sample.name][labels] = sample.value
    return series


async def test_metrics_are_those_of_the_log_and_its_models(client: Client, ledger: Ledger) -> None:
    await with_gaps(client, ledger)
    await with_listeners(ledger)
    await ledger.write(Minute(60, "up", 1), pbx="a")
    last = await ledger.write(b"Event: Newchannel\r\nChannelState: abc\r\nUniqueid: 1.1\r\n\r\n", pbx='q"\\\nü')
    await folded(client, last)
    found = await scraped(client)
    assert found["ringledger_database_up"][()] == found["ringledger_postgresql_up"][()] == 1
    assert found["ringledger_log_position"][()] == last
    counts = await ledger.connection.fetch("SELECT name, pbx, source, count FROM ledger.name")
    assert found["ringledger_events_total"] == {(r["name"], r["pbx"], r["source"]): r["count"] for r in counts}
    assert sum(found["ringledger_pbx_events_total"].values()) == last
    assert found["ringledger_pbx_events_total"]['q"\\\nü',] == 1
    assert set(found["ringledger_model_position"].values()) == {last}
    assert set(found["ringledger_model_lag_events"].values()) == {0} == set(found["ringledger_model_stopped"].values())
    assert len(found["ringledger_model_lag_seconds"]) == len(ALL)
    assert found["ringledger_unfit_events_total"]["channels",] == 1
    assert found["ringledger_link_up"] == {("a",): 1, ("b",): 0}
    assert found["ringledger_gaps_total"] == {("a",): 2, ("b",): 1}
    assert found["ringledger_gap_seconds_total"]["a",] == 11.75
    assert found["ringledger_spool_events"] == {("ami", "a"): 7}
    assert found["ringledger_spool_bytes"] == {("ami", "a"): 900}
    assert found["ringledger_spool_limit_bytes"] == {("ami", "a"): 1000}
    assert found["ringledger_spool_failed"] == {("ami", "a"): 1}
    assert found["process_resident_memory_bytes"][()] > 10_000_000


async def test_metrics_stay_bounded_when_a_pbx_invents_event_names(client: Client, ledger: Ledger) -> None:
    await ledger.connection.execute(
        "INSERT INTO ledger.name (pbx, source, name, count, last)"
        " SELECT 'a', 'ami', repeat('x', 500) || n, 1, 1 FROM generate_series(1, 300) n"
        " UNION ALL SELECT 'a', 'ami', 'n' || n, n, 1 FROM generate_series(1, 300000) n"
        " UNION ALL SELECT 'b', 'ami', 'other', 7, 1"
    )
    reply = await client.get("/metrics")
    assert len(await reply.read()) < 200_000
    events = (await scraped(client))["ringledger_events_total"]
    of_a = {name: count for (name, pbx, source), count in events.items() if pbx == "a"}
    assert len(of_a) == LARGEST_NAMES + 1
    assert max(map(len, of_a)) <= NAME_LETTERS
    assert of_a["n300000"] == 300_000
    assert sum(of_a.values()) == 300 + sum(range(1, 300_001))
    assert events["other", "b", "ami"] == 7
    assert ("other", "b", "other") not in events
    assert (await scraped(client))["ringledger_pbx_events_total"]["a",] == sum(of_a.values())


async def test_metrics_text_is_made_outside_the_event_loop(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    made_in: list[threading.Thread] = []

    def text(_families: list[Metric], _process: CollectorRegistry) -> bytes:
        made_in.append(threading.current_thread())
        return b""

    monkeypatch.setattr("api.ops.metrics._text", text)
    assert (await client.get("/metrics")).status == 200
    assert made_in != [threading.current_thread()]


async def test_status_lists_the_most_frequent_names_and_counts_all(client: Client, ledger: Ledger) -> None:
    await ledger.connection.execute(
        "INSERT INTO ledger.name (pbx, source, name, count, last)"
        " SELECT 'a', 'ami', 'n' || n, 1000000 + n, 1 FROM generate_series(1, 1001) n"
    )
    found = await get(client, "/v1/ledger/status")
    assert len(found["untaken"]) == 1000
    assert found["untaken"][0]["name"] == "n1001"
    assert found["untaken_names"] > 1000


async def test_requests_with_an_unknown_method_are_counted_as_other(client: Client) -> None:
    measures = client.app[REQUEST_METRICS]
    request = make_mocked_request("BREW", "/healthz", app=client.app)

    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response()

    await count_requests(request, handler)
    methods = {method for _route, method, _status in measures.series}
    assert "other" in methods
    assert "BREW" not in methods


async def test_requests_are_counted_by_the_template_of_their_route(client: Client) -> None:
    before = (await scraped(client))["ringledger_http_requests_total"]
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
    series = await scraped(client)
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


async def test_two_applications_count_for_themselves(serve: Serve) -> None:
    one, other = await serve(), await serve()
    bearer = f"Bearer {await admin_token(one)}"
    await one.get("/healthz")
    for client in (one, other):
        client.session.headers["Authorization"] = bearer
    counted = [await scraped(client) for client in (one, other)]
    assert ("GET", "/healthz", "200") in counted[0]["ringledger_http_requests_total"]
    assert ("GET", "/healthz", "200") not in counted[1].get("ringledger_http_requests_total", {})


async def test_metrics_without_postgresql_are_those_of_the_process(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise ConnectionRefusedError

    board(tmp_path)
    monkeypatch.setattr("api.ops.metrics.count_log", away)
    found = await scraped(client)
    assert found["ringledger_database_up"][()] == found["ringledger_postgresql_up"][()] == 0
    assert "ringledger_log_position" not in found
    assert found["ringledger_spool_events"] == {("ami", "ü"): 7}
    assert found["process_resident_memory_bytes"][()] > 0


async def test_every_query_of_the_dashboard_names_a_metric_that_is_there(client: Client, ledger: Ledger) -> None:
    await with_gaps(client, ledger)
    await with_listeners(ledger)
    last = await ledger.write(b"Event: Newchannel\r\nChannelState: abc\r\nUniqueid: 1.1\r\n\r\n")
    await folded(client, last)
    await scraped(client)
    found = await scraped(client)
    dashboard = json.loads((GRAFANA / "ringledger.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) > 10
    shown = set()
    for query in queries:
        names = re.findall(r"\b(?:ringledger|process)_\w+", query)
        assert names, query
        assert set(names) <= set(found), query
        shown |= set(names)
        for label in re.findall(r"by \(([^)]*)\)", query):
            assert set(label.split(", ")) <= {"pbx", "kind", "model", "name", "source", "route", "status", "le"}, query
    missing = {
        n for n in found if n.startswith("ringledger_") and not n.endswith(("_created", "_sum", "_count"))
    } - shown
    assert missing == set()
