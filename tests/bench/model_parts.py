"""The bench of read models: rebuilt, rebuilt beside the served ones, and as of an instant."""

import asyncio
import random
import sys
import time
from datetime import UTC, datetime
from statistics import median
from typing import Any

import asyncpg
import msgspec

from projections import ALL
from schemas.log import NewEvent
from services.log.append import append_events
from tests.bench.http import CHANNELS, PASSWORD, Client
from tests.bench.report import Figure
from tests.bench.shared import connected, connected_to, received, recorded_events
from tests.bench.stage import BrokenError, Stage, cpu
from tests.captures import wire
from tests.support.ports import free_port


async def rebuild(stage: Stage, total: int, _: int) -> list[Figure]:
    """All read models from an empty state, against reading the same log and doing nothing."""
    figures: list[Figure] = []
    mixed = received([wire("rich22")]) + received([wire("rich16")])
    for what, events, target in (
        ("loaded PBX", recorded_events(total), 60_000),
        ("all event types", mixed * max(1, total // 2 // len(mixed)), None),
    ):
        async with connected(stage, "rebuild") as connection:
            for i in range(0, len(events), 5000):
                await append_events(connection, "pbx", 1, i + 1, events[i : i + 5000])
            start = time.perf_counter()
            for i in range(0, len(events), 5000):
                await connection.fetch("SELECT * FROM ledger.event WHERE position > $1 AND position <= $2", i, i + 5000)
            bare = len(events) / (time.perf_counter() - start)
            ours, used = await _rebuilt(stage, connection, len(events))
        figures += [
            Figure("rebuild", f"{what}: {len(ALL)} models", ours, "events/s", target),
            Figure("rebuild", f"{what}: processor time of the projector", used, "us/event"),
            Figure("rebuild", f"{what}: bare reading", bare, "events/s"),
            Figure("rebuild", f"{what}: ours to bare reading", ours / bare, "x"),
        ]
    return figures


async def _rebuilt(stage: Stage, connection: asyncpg.Connection, total: int) -> tuple[float, float]:
    """Return events a second, and processor microseconds an event, of a projector from its first batch to its last."""
    batches: list[tuple[float, int, float]] = []

    def noted(*args: Any) -> None:
        batches.append((time.perf_counter(), msgspec.json.decode(args[3])["position"], cpu(process.pid)))

    await connection.add_listener("ringledger_model", noted)
    database_url = stage.server.url.replace("/postgres?", "/rebuild?")
    with stage.ringledger("project", RINGLEDGER_DATABASE_URL=database_url) as process:
        while not batches or batches[-1][1] < total:
            stage.check(process)
            await asyncio.sleep(0.05)
    if stopped := await connection.fetchval("SELECT string_agg(model || ': ' || error, ', ') FROM ledger.checkpoint"):
        raise BrokenError(f"models stopped: {stopped}")
    (start, first, used_first), (end, last, used_last) = batches[0], batches[-1]
    return (last - first) / (end - start), (used_last - used_first) * 1e6 / (last - first)


async def beside(stage: Stage, total: int, _: int) -> list[Figure]:
    """Measure the served read models during a rebuild of all: from an append to the tables, 2,000 events/s."""
    url = await stage.database("beside")
    async with connected_to(url) as connection, connected_to(url) as writer:
        events = recorded_events(total)
        for i in range(0, total, 5000):
            await append_events(connection, "pbx", 1, i + 1, events[i : i + 5000])
        folded: list[tuple[float, int]] = []
        await connection.add_listener(
            "ringledger_model", lambda *a: folded.append((time.perf_counter(), msgspec.json.decode(a[3])["position"]))
        )
        with stage.ringledger("project", RINGLEDGER_DATABASE_URL=url) as projector:
            while not folded or folded[-1][1] < total:
                stage.check(projector)
                await asyncio.sleep(0.05)
            alone = asyncio.create_task(asyncio.sleep(5))
            written = await _steadily(writer, events, total, alone)
            rebuild = (sys.executable, "-P", "-m", "services.cli", "rebuild")
            with stage.process(*rebuild, name="rebuild-command", RINGLEDGER_DATABASE_URL=url) as command:
                began = time.perf_counter()
                rebuilt = asyncio.create_task(asyncio.to_thread(command.wait))
                meanwhile = await _steadily(writer, events, total + len(written) * 20, rebuilt)
                seconds = time.perf_counter() - began
                if await rebuilt:
                    raise BrokenError(f"the rebuild ended with {command.returncode}")
            while folded[-1][1] < total + (len(written) + len(meanwhile)) * 20:
                stage.check(projector)
                await asyncio.sleep(0.05)
    await stage.drop("beside")
    figures = [Figure("beside", "events rebuilt a second beside them", total / seconds, "/s")]
    for what, appended, target in (("alone", written, None), ("beside a rebuild", meanwhile, 100)):
        lags = sorted(_after(appended, folded))
        figures += [
            Figure("beside", f"append to tables {what}, p50", lags[len(lags) // 2] * 1000, "ms"),
            Figure(
                "beside",
                f"append to tables {what}, p99",
                lags[len(lags) * 99 // 100] * 1000,
                "ms",
                target,
                at_most=True,
            ),
            Figure("beside", f"append to tables {what}, largest", lags[-1] * 1000, "ms"),
        ]
    return figures


async def _steadily(
    connection: asyncpg.Connection, events: list[NewEvent], done: int, until: asyncio.Task[Any]
) -> list[tuple[float, int]]:
    """Append 20 events every 10 ms after the first ``done``; return when which position was durable."""
    appended: list[tuple[float, int]] = []
    due = time.perf_counter()
    while not until.done():
        start = done % (len(events) - 20)
        position = await append_events(connection, "pbx", 1, done + 1, events[start : start + 20])
        appended.append((time.perf_counter(), position))
        done += 20
        due += 0.01
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    return appended


def _after(appended: list[tuple[float, int]], folded: list[tuple[float, int]]) -> list[float]:
    """Return how long after each append its last event was in the tables."""
    lags: list[float] = []
    arrivals = iter(folded)
    at, reached = next(arrivals)
    for when, position in appended:
        while reached < position:
            at, reached = next(arrivals)
        lags.append(max(0.0, at - when))
    return lags


QUEUES = "/v1/admin/queue/queues"
STATISTICS = "/api/statistics/2026-11-22"
LOGGED = 1_000_000
SIZES = """
SELECT sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relname LIKE 'saved%')::float8
       / sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relname LIKE 'event%') AS saved
FROM pg_class c WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind = 'r'
"""
CLOCK = "CREATE OR REPLACE FUNCTION ledger.clock() RETURNS timestamptz LANGUAGE sql RETURN to_timestamp({at})"


async def asof(stage: Stage, _: int, rate: int) -> list[Figure]:
    """Views as of random positions and times, in a log of a loaded PBX with queues, without the cache."""
    url = await stage.database("asof")
    connection = await asyncpg.connect(url)
    begin = await _logged(connection, rate)
    port = free_port()
    environ = {
        "RINGLEDGER_DATABASE_URL": url,
        "RINGLEDGER_DATA": str(stage.folder / "processes"),
        "RINGLEDGER_HTTP": f"127.0.0.1:{port}",
        "RINGLEDGER_ADMIN_PASSWORD": PASSWORD,
    }
    dice = random.Random(LOGGED)
    figures = []
    with stage.ringledger("project", **environ) as project, stage.ringledger("serve", **environ) as serve:
        client = await (await Client(port).open()).login()
        while await connection.fetchval("SELECT min(position) FROM ledger.checkpoint") < LOGGED:
            stage.check(project, serve)
            await asyncio.sleep(0.1)
        for path, count, target in ((CHANNELS, 50, 1), (QUEUES, 50, 1), (STATISTICS, 8, None)):
            positions = [str(dice.randint(1, LOGGED)) for _ in range(count)]
            times = [_rfc_3339(begin + LOGGED / rate * dice.random()) for _ in range(count)]
            for what, instants in (("positions", positions), ("times", times)):
                took = sorted([await _answered(client, f"{path}?as_of={instant}") for instant in instants])
                figures += [
                    Figure("asof", f"{path} at {count} {what}, median", median(took), "s"),
                    Figure("asof", f"{path} at {count} {what}, largest", took[-1], "s", target, at_most=True),
                ]
        client.close()
    saved = await connection.fetchval(SIZES)
    await connection.close()
    await stage.drop("asof")
    return [*figures, Figure("asof", "saved states, of the size of the log", saved * 100, "%")]


async def _logged(connection: asyncpg.Connection, rate: int) -> float:
    """Append what a loaded PBX and its queues say as if it came at this rate; return when it began."""
    queues = received([wire("rich22")])
    calls = recorded_events(LOGGED - 5 * len(queues))
    part = len(calls) // 5
    events = [e for i in range(0, len(calls), part) for e in (*calls[i : i + part], *queues)][:LOGGED]
    begin = time.time() - LOGGED / rate - 60
    for i in range(0, LOGGED, 5000):
        await connection.execute(CLOCK.format(at=begin + (i + 5000) / rate))
        batch = [msgspec.structs.replace(e, recorded=begin + n / rate) for n, e in enumerate(events[i : i + 5000], i)]
        await append_events(connection, "pbx", 1, i + 1, batch)
    await connection.execute("CREATE OR REPLACE FUNCTION ledger.clock() RETURNS timestamptz RETURN clock_timestamp()")
    return begin


async def _answered(client: Client, path: str) -> float:
    start = time.perf_counter()
    status, _, body = await client.get(path)
    if status != 200:
        raise BrokenError(f"{path}: {status} {body[:300]!r}")
    return time.perf_counter() - start


def _rfc_3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
