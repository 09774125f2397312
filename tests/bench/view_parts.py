"""The bench of what is served: a view, how late it is, and all of it under load."""

import asyncio
import json
import sys
import time
from statistics import median

import asyncpg

from services.log.append import append_events
from tests.bench.http import CHANNELS, PASSWORD, Client, gets_per_second
from tests.bench.pipeline import Pipeline, Played, pipeline
from tests.bench.recording import one_round, sent_of
from tests.bench.report import Figure
from tests.bench.shared import recorded_events
from tests.bench.stage import BrokenError, Stage
from tests.support.ports import free_port


async def view(stage: Stage, _: int, __: int) -> list[Figure]:
    """GET of 1,000 channels whose bytes are stable, against a bare aiohttp handler that sends the same bytes."""
    url = await stage.database("view")
    newchannels = [e for e in recorded_events(2 * len(one_round())) if e.name == "Newchannel"][:1000]
    connection = await asyncpg.connect(url)
    await append_events(connection, "bench", 1, 1, newchannels)
    await connection.close()
    port, other = free_port(), free_port()
    environ = {
        "RINGLEDGER_DATABASE_URL": url,
        "RINGLEDGER_DATA": str(stage.folder / "processes"),
        "RINGLEDGER_HTTP": f"127.0.0.1:{port}",
        "RINGLEDGER_ADMIN_PASSWORD": PASSWORD,
    }
    with stage.ringledger("project", **environ), stage.ringledger("serve", **environ):
        ours = [await (await Client(port).open()).login() for _ in range(4)]
        _, headers, body = await ours[0].get(CHANNELS)
        if len(json.loads(body)["result"]["list"]) != 1000:
            raise BrokenError(f"{CHANNELS} should show 1,000 channels: {body[:300]!r}")
        (stage.folder / "body").write_bytes(body)
        stable = {k: v for k, v in headers.items() if k not in {"content-length", "date", "server"}}
        (stage.folder / "headers").write_text(json.dumps(stable))
        with stage.process(sys.executable, "-m", "tests.bench.http", str(other), str(stage.folder), name="bare"):
            theirs = [await Client(other).open() for _ in ours]
            rates = [  # in turns, so that what else the machine does falls on both
                (await gets_per_second(ours, CHANNELS, 0.5), await gets_per_second(theirs, CHANNELS, 0.5))
                for _ in range(12)
            ]
            for client in (*ours, *theirs):
                client.close()
    await stage.drop("view")
    return [
        Figure("view", f"GET of 1,000 channels ({len(body) >> 10} KB)", median(r for r, _ in rates), "/s"),
        Figure("view", "bare aiohttp, same bytes", median(r for _, r in rates), "/s"),
        Figure("view", "ours to bare aiohttp", median(a / b for a, b in rates), "x", 0.7),
    ]


async def latency(stage: Stage, _: int, __: int) -> list[Figure]:
    """From the moment an event is due on the wire to the commit, and to the answer of a GET that has folded it."""
    total, rate = 20_000, 2_000
    url = await stage.database("latency")
    async with pipeline(stage, url, total, rate, "listen", "project", "serve") as running:
        client = await (await Client(running.port).open()).login()
        polling = asyncio.create_task(_poll(client, running))
        run = await running.play(total, rate)
        polling.cancel()
        client.close()
    await stage.drop("latency")
    committed, answered = sorted(latencies(run, run.models)), sorted(latencies(run, run.views))
    return [
        Figure("latency", f"wire to tables at {rate:,} events/s, p50", committed[len(committed) // 2] * 1000, "ms"),
        Figure("latency", "wire to tables, p99", committed[len(committed) * 99 // 100] * 1000, "ms"),
        Figure("latency", "wire to view (GET of channels), p50", answered[len(answered) // 2] * 1000, "ms"),
        Figure("latency", "wire to view, p99", answered[len(answered) * 99 // 100] * 1000, "ms", 100, at_most=True),
        Figure("latency", "wire to view, largest", answered[-1] * 1000, "ms"),
    ]


async def _poll(client: Client, running: Pipeline) -> None:
    """Look at the channels every few milliseconds, as no dashboard does."""
    while True:
        status, headers, _ = await client.get(CHANNELS)
        if status == 200:
            running.views.append((time.time(), int(headers["x-ledger-position"])))
        await asyncio.sleep(0.005)


def latencies(run: Played, arrivals: list[tuple[float, int]]) -> list[float]:
    """Return, of every event, how many seconds after it was due it had arrived."""
    delays: list[float] = []
    last = 0
    for at, number in arrivals:
        delays += [at - run.due(n) for n in range(last + 1, min(number, run.total) + 1)]
        last = max(last, number)
    return delays


async def load(stage: Stage, total: int, rate: int) -> list[Figure]:
    """A loaded Asterisk: nothing lost, read on time, durable within 2 s, and what each process needs for it."""
    url = await stage.database("load")
    async with pipeline(stage, url, total, rate, "listen", "project", "serve") as running:
        run = await running.play(total, rate)
        connection = await asyncpg.connect(url)
        stopped = await connection.fetchval("SELECT count(*) FROM ledger.checkpoint WHERE error IS NOT NULL")
        await connection.close()
    await stage.drop("load")
    lost = sum(abs(run.counts.get(name, 0) - sent) for name, sent in sent_of(total).items())
    log_ended, models_ended = (max(at for at, _ in series) for series in (run.log, run.models))
    figures = [
        Figure("load", f"events sent at {rate:,}/s", run.total, ""),
        Figure("load", "lost or doubled", lost, "events", 0, at_most=True),
        Figure("load", "models stopped", stopped, "", 0, at_most=True),
        Figure("load", "sender held up, at most", run.late, "s", 1, at_most=True),
        Figure(
            "load", "read after it was due, at most", max(lag for lag, _ in run.lags(run.reads)), "s", 1, at_most=True
        ),
        Figure(
            "load", "durable after it was due, at most", max(lag for lag, _ in run.lags(run.log)), "s", 2, at_most=True
        ),
        Figure("load", "durable, median", median(lag for lag, _ in run.lags(run.log)), "s"),
        Figure("load", "in the models, at most", max(lag for lag, _ in run.lags(run.models)), "s"),
        Figure("load", "log complete after the last was sent", max(0.0, log_ended - run.ended), "s"),
        Figure("load", "models complete after the last was sent", max(0.0, models_ended - run.ended), "s"),
    ]
    figures += [
        Figure("processor", f"{name}, for each event", seconds * 1e6 / total, "us") for name, seconds in run.cpu.items()
    ]
    for name, series in run.memory.items():
        figures.append(Figure("memory", f"{name}, at most", max(mb for _, mb in series), "MB", 200, at_most=True))
        if name != "PostgreSQL's largest":
            figures.append(Figure("memory", f"{name}, growth", growth(series, total), "MB", 10, at_most=True))
    return figures


def growth(series: list[tuple[int, float]], total: int) -> float:
    """Return by how many MB the least of the last third is above the least of the second third.

    The least, for what is needed for a moment (an autovacuum, a backlog) is given back; what leaks never is.
    """
    second = [mb for position, mb in series if total / 3 <= position < total * 2 / 3]
    third = [mb for position, mb in series if position >= total * 2 / 3]
    return min(third) - min(second) if second and third else 0.0
