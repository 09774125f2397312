"""cospace: samples, statistics and usage."""

import uuid
from typing import Any

import pytest

from tests.contract import misfits, shapes
from tests.support.api_client import Client, RecordedApi
from tests.support.recordings import MINUTE

MAPS = ("pbx", "queues", "agents", "endpoints")
MEMBERS = (
    "calls answered no_answer busy failed congestion talk_seconds ring_seconds longest_seconds by_hour".split()  # noqa: SIM905
)


@pytest.fixture
async def client(recorded: RecordedApi) -> Client:
    return recorded.client


async def day(recorded: RecordedApi) -> str:
    uuid: str = await recorded.ledger.connection.fetchval(
        "SELECT max(period) FROM statistics WHERE pbx = 'rich22' AND length(period) = 10"
    )
    return uuid


async def jeye(client: Client, **query: str | int) -> list[dict[str, Any]]:
    reply = await client.get("/api/jeye/rich22", params={k: str(v) for k, v in query.items()})
    assert reply.status == 200
    body = await reply.json()
    assert misfits(body, shapes()["cospace.jeye.list"]["response"]) == []
    assert all(name == str(uuid.UUID(name)) == sample["uuid"] for name, sample in body["jeye"].items())
    return list(body["jeye"].values())


async def test_samples_come_in_order_of_time(client: Client) -> None:
    samples = await jeye(client, count=5000)
    minutes = [s["minute"] for s in samples]
    assert len(minutes) >= 4
    assert minutes == sorted(minutes)
    assert [s["minute"] for s in await jeye(client, count=5000, order="desc")] == minutes[::-1]
    assert samples[-1]["events_per_second"] == 100.0


async def test_samples_are_bounded_by_time_count_and_start(client: Client) -> None:
    every = await jeye(client, count=5000)
    last = every[-4:]
    assert await jeye(client, **{"from": MINUTE - 180}) == last
    assert await jeye(client, **{"from": MINUTE - 180, "to": MINUTE - 60}) == last[:3]
    assert await jeye(client, order="desc", count=2) == last[:1:-1]
    assert await jeye(client, start=last[0]["uuid"]) == last[1:]
    # start takes the place of from when ascending, of to when descending.
    assert await jeye(client, start=last[0]["uuid"], **{"from": MINUTE, "to": MINUTE - 0}) == last[1:]
    assert await jeye(client, start=last[2]["uuid"], order="desc", count=2) == last[1::-1]
    assert await jeye(client, start=last[3]["uuid"], order="desc", to=MINUTE - 180, count=1) == [last[2]]


@pytest.mark.parametrize(
    "query",
    [
        "count=0",
        "count=5001",
        "count=x",
        "count=-1",
        "count=%C2%B2",
        "order=up",
        "from=x",
        "from=2&to=1",
        "to=99999999999999",
        "start=x",
        "start=7ac326bf-e146-493a-b9c7-bfb990264b59",
    ],
)
async def test_bad_parameters_are_400(client: Client, query: str) -> None:
    reply = await client.get(f"/api/jeye/rich22?{query}")
    assert (reply.status, await reply.json()) == (400, {"status": "bad-parameter"})


@pytest.mark.parametrize(
    "path",
    [
        "/api/jeye/nobody",
        "/api/jeye/rich22?from=1&to=2",
        "/api/statistics/2001-01-01",
        "/api/usage/2001-01",
        "/api/jeye/%00",
    ],
)
async def test_nothing_found_is_empty_data(client: Client, path: str) -> None:
    reply = await client.get(path)
    assert (reply.status, await reply.json()) == (404, {"status": "empty-data"})


@pytest.mark.parametrize(
    "path",
    [
        "/api/statistics/2026-13-01",
        "/api/statistics/2026-02-30",
        "/api/statistics/26-02-03",
        "/api/statistics/2026-02",
        "/api/statistics/x",
        "/api/usage/2026-00",
        "/api/usage/2026-01-01",
        "/api/usage/9999-12",
    ],
)
async def test_an_invalid_date_is_400(client: Client, path: str) -> None:
    reply = await client.get(path)
    assert (reply.status, await reply.json()) == (400, {"status": "bad-parameter"})


async def test_a_wrong_method_is_405(client: Client) -> None:
    reply = await client.post("/api/jeye/rich22")
    assert (reply.status, await reply.json()) == (405, {"status": "wrong-method"})


@pytest.mark.parametrize("kind", ["statistics", "usage"])
async def test_sums_are_those_of_the_call_records(recorded: RecordedApi, kind: str) -> None:
    period = (await day(recorded))[: 10 if kind == "statistics" else 7]
    reply = await recorded.client.get(f"/api/{kind}/{period}")
    assert reply.status == 200
    body = await reply.json()
    assert misfits(body, shapes()[f"cospace.{kind}.get"]["response"]) == []
    result = body["result"]
    assert set(result["total"]) == set(MEMBERS)
    rows = await recorded.ledger.connection.fetch(
        "SELECT pbx, disposition, count(*) AS calls, sum(billable_seconds) AS talk FROM call_records"
        " WHERE to_char(start_time AT TIME ZONE 'UTC', 'YYYY-MM-DD') LIKE $1 || '%' GROUP BY 1, 2",
        period,
    )
    for name, sums in result["pbx"].items():
        assert sums["calls"] == sum(r["calls"] for r in rows if r["pbx"] == name) == sum(sums["by_hour"])
        assert sums["talk_seconds"] == sum(r["talk"] for r in rows if r["pbx"] == name)
        answered = sum(r["calls"] for r in rows if r["pbx"] == name and r["disposition"] == "ANSWERED")
        assert sums["answered"] == answered
    assert result["total"]["calls"] == sum(r["calls"] for r in rows)
    assert result["total"]["longest_seconds"] == max(s["longest_seconds"] for s in result["pbx"].values())
    assert all(set(MEMBERS) <= set(sums) for scope in MAPS for sums in result[scope].values())
    assert result["queues"]
    assert result["endpoints"]


async def test_sums_of_one_pbx(recorded: RecordedApi) -> None:
    period = await day(recorded)
    reply = await recorded.client.get(f"/api/statistics/{period}", params={"pbx": "rich22"})
    result = (await reply.json())["result"]
    assert set(result["pbx"]) == {"rich22"}
    assert result["total"] == result["pbx"]["rich22"]
