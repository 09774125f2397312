"""Each part of the bench: what it measures, against what, and the targets on two cores."""

import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from statistics import median
from typing import Any

import asyncpg
import msgspec
from panoramisk.ami_protocol import AMIProtocol

from projections import ALL
from projections.headers import headers_of
from projections.kit import takers
from schemas.log import Received, Recorded
from services import database, log
from services.ami.protocol import LedgerProtocol
from services.verify import verify
from tests.bench.evidence import evidence
from tests.bench.http import CHANNELS, PASSWORD, Client, free_port, gets_per_second
from tests.bench.pipeline import Pipeline, Played, pipeline
from tests.bench.recording import one_round, played, sent_of
from tests.bench.report import Figure
from tests.bench.stage import BrokenError, Stage, cpu
from tests.captures import wire

READ_SIZE = 65536
TRIES = 3
"""The first run of a new server makes the files of its write-ahead log; the later ones find them there."""
NOW = datetime.now(UTC)


def received(data: Iterable[bytes]) -> list[Received]:
    """Frame what a socket would deliver."""
    got: list[Received] = []
    protocol = LedgerProtocol(got.extend, lambda _: None)
    protocol.closed, protocol.responses = False, {}
    for piece in data:
        protocol.data_received(piece)
    return got


def recorded_events(total: int) -> list[Received]:
    return received(data for _, data in played(total, 1_800_000_000, 1000))


def per_second(events: int, work: Callable[[], object], times: int = 3) -> float:
    """Return events per second of the best of some runs."""
    best = 1e9
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return events / best


@asynccontextmanager
async def connected(stage: Stage, name: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected_to(await stage.database(name)) as connection:
        yield connection
    await stage.drop(name)


@asynccontextmanager
async def connected_to(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await database.connect(url, search_path="model, ledger")
    yield connection
    await connection.close()


async def parsing(_: Stage, __: int, ___: int) -> list[Figure]:
    """Framing and parsing of a recording with 141 event types, against panoramisk's own parser."""
    data = wire("rich22")
    reads = [data[i : i + READ_SIZE] for i in range(0, len(data), READ_SIZE)]
    total = len(received(reads))

    def ours() -> None:
        for e in received(reads):
            headers_of(Recorded(1, "pbx", "ami", e.name, NOW, e.raw))

    taking = takers(ALL)

    def read() -> None:
        for e in received(reads):
            chosen, _ = taking.get(e.name, (None, ()))
            if chosen:
                chosen.of(Recorded(1, "pbx", "ami", e.name, NOW, e.raw))

    class Nobody:
        def dispatch(self, _: object) -> None: ...

    def theirs() -> None:
        protocol = AMIProtocol()
        protocol.connection_made(None)
        protocol.factory = Nobody()
        for read in reads:
            protocol.data_received(read)

    framing, both, models, panoramisk = (per_second(total, f) for f in (lambda: received(reads), ours, read, theirs))
    return [
        Figure("parsing", "framing alone", framing, "events/s"),
        Figure("parsing", "framing, and every header of every event", both, "events/s"),
        Figure("parsing", "framing, and what the models read", models, "events/s"),
        Figure("parsing", "panoramisk's parser", panoramisk, "events/s"),
        Figure("parsing", "every header, ours to panoramisk's", both / panoramisk, "x"),
        Figure("parsing", "what the models read, to panoramisk's", models / panoramisk, "x"),
    ]


COLUMNS = ("position", "connection", "ordinal", "occurred", "recorded", "month", "pbx", "source", "name", "raw")


async def ingest(stage: Stage, total: int, _: int) -> list[Figure]:
    """From a socket that is never empty to durable rows, against COPY of the same rows into the same kind of table."""
    ours = bare = 0.0
    for _ in range(TRIES):
        url = await stage.database("ingest")
        async with pipeline(stage, url, total, 0, "listen") as running:
            run = await running.play(total, 0)
        ours = max(ours, total / (run.log[-1][0] - run.begun))
    connection = await asyncpg.connect(url)
    partition = await connection.fetchval("SELECT tableoid::regclass::text FROM ledger.event LIMIT 1")
    await connection.execute(f"CREATE TABLE bare (LIKE {partition} INCLUDING ALL)")
    rows = [tuple(r) for r in await connection.fetch(f"SELECT {', '.join(COLUMNS)} FROM ledger.event")]
    for _ in range(TRIES):
        await connection.execute("TRUNCATE bare")
        start = time.perf_counter()
        await connection.copy_records_to_table("bare", records=rows, columns=COLUMNS)
        bare = max(bare, len(rows) / (time.perf_counter() - start))
    await connection.close()
    await stage.drop("ingest")
    return [
        Figure("ingest", f"socket to durable, the best of {TRIES}", ours, "events/s"),
        Figure("ingest", f"bare COPY, the best of {TRIES}", bare, "events/s"),
        Figure("ingest", "ours to bare COPY", ours / bare, "x", 0.4),
    ]


async def append(stage: Stage, _: int, __: int) -> list[Figure]:
    """Batches of 100, each durable, against the eventsourcing library's PostgreSQL recorder."""
    events = recorded_events(30_000)
    batches = [events[i : i + 100] for i in range(0, len(events), 100)]
    async with connected(stage, "append") as connection:
        start = time.perf_counter()
        for number, batch in enumerate(batches):
            await log.append(connection, "pbx", 1, number * 100 + 1, batch)
        ours = len(events) / (time.perf_counter() - start)
    await stage.database("recorder")
    theirs = await asyncio.to_thread(_eventsourcing, stage, batches)
    await stage.drop("recorder")
    return [
        Figure("append", "batches of 100, ours", ours, "events/s"),
        Figure("append", "eventsourcing's recorder", theirs, "events/s"),
        Figure("append", "ours to eventsourcing's", ours / theirs, "x"),
    ]


def _eventsourcing(stage: Stage, batches: list[list[Received]]) -> float:
    from eventsourcing.persistence import StoredEvent
    from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

    stream = uuid.uuid4()
    stored = [
        [StoredEvent(stream, number * 100 + i, e.name, e.raw) for i, e in enumerate(batch)]
        for number, batch in enumerate(batches)
    ]
    host = stage.server.url.partition("host=")[2]
    with PostgresDatastore(dbname="recorder", host=host, port="5432", user="ringledger", password="") as datastore:
        recorder = PostgresApplicationRecorder(datastore)
        recorder.create_table()
        start = time.perf_counter()
        for batch in stored:
            recorder.insert_events(batch)
        return sum(map(len, stored)) / (time.perf_counter() - start)


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
                await log.append(connection, "pbx", 1, i + 1, events[i : i + 5000])
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
    """What a rebuild of all read models does to those that are served: from an append to the tables, 2,000 events/s."""
    url = await stage.database("beside")
    async with connected_to(url) as connection, connected_to(url) as writer:
        events = recorded_events(total)
        for i in range(0, total, 5000):
            await log.append(connection, "pbx", 1, i + 1, events[i : i + 5000])
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
    connection: asyncpg.Connection, events: list[Received], done: int, until: asyncio.Task[Any]
) -> list[tuple[float, int]]:
    """Append 20 events every 10 ms after the first ``done``; return when which position was durable."""
    appended: list[tuple[float, int]] = []
    due = time.perf_counter()
    while not until.done():
        start = done % (len(events) - 20)
        position = await log.append(connection, "pbx", 1, done + 1, events[start : start + 20])
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


async def verified(stage: Stage, total: int, _: int) -> list[Figure]:
    """The whole log against its chain: every column of every event, every leaf and link; its processes' start too."""
    total = total * 5 // 2
    size = done = 0
    best = 1e9
    async with connected(stage, "verify") as connection:
        for _, data in played(total, 1_800_000_000, 4096):
            events = received([data])
            await log.append(connection, "pbx", 1, done + 1, events)
            size, done = size + sum(len(e.raw) for e in events), done + len(events)
        for _ in range(TRIES):
            start = time.perf_counter()
            good = await verify(stage.server.url.replace("/postgres?", "/verify?"))
            best = min(best, time.perf_counter() - start)
    if (good.events, good.size) != (total, size):
        raise BrokenError(f"{good.events} events of {good.size} bytes were verified, not {total} of {size}")
    return [
        Figure("verify", f"raw bytes of {total:,} events, the best of {TRIES}", size / 1e6 / best, "MB/s", 100),
        Figure("verify", "events", total / best, "events/s"),
    ]


async def view(stage: Stage, _: int, __: int) -> list[Figure]:
    """GET of 1,000 channels whose bytes are kept, against a bare aiohttp handler that sends the same bytes."""
    url = await stage.database("view")
    newchannels = [e for e in recorded_events(2 * len(one_round())) if e.name == "Newchannel"][:1000]
    connection = await asyncpg.connect(url)
    await log.append(connection, "bench", 1, 1, newchannels)
    await connection.close()
    port, other = free_port(), free_port()
    environ = {
        "RINGLEDGER_DATABASE_URL": url,
        "RINGLEDGER_DATA": str(stage.folder),
        "RINGLEDGER_HTTP": f"127.0.0.1:{port}",
        "RINGLEDGER_ADMIN_PASSWORD": PASSWORD,
    }
    with stage.ringledger("project", **environ), stage.ringledger("serve", **environ):
        ours = [await (await Client(port).open()).login() for _ in range(4)]
        _, headers, body = await ours[0].get(CHANNELS)
        if len(json.loads(body)["result"]["list"]) != 1000:
            raise BrokenError(f"{CHANNELS} should show 1,000 channels: {body[:300]!r}")
        (stage.folder / "body").write_bytes(body)
        kept = {k: v for k, v in headers.items() if k not in {"content-length", "date", "server"}}
        (stage.folder / "headers").write_text(json.dumps(kept))
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
    committed, answered = sorted(_latencies(run, run.models)), sorted(_latencies(run, run.views))
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


def _latencies(run: Played, arrivals: list[tuple[float, int]]) -> list[float]:
    found: list[float] = []
    last = 0
    for at, number in arrivals:
        found += [at - run.due(n) for n in range(last + 1, min(number, run.total) + 1)]
        last = max(last, number)
    return found


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
    """Views as of random positions and times, in a log of a loaded PBX with queues: every answer folded anew."""
    url = await stage.database("asof")
    connection = await asyncpg.connect(url)
    begin = await _logged(connection, rate)
    port = free_port()
    environ = {
        "RINGLEDGER_DATABASE_URL": url,
        "RINGLEDGER_DATA": str(stage.folder),
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
        for path, asked, target in ((CHANNELS, 50, 1), (QUEUES, 50, 1), (STATISTICS, 8, None)):
            positions = [str(dice.randint(1, LOGGED)) for _ in range(asked)]
            times = [_rfc_3339(begin + LOGGED / rate * dice.random()) for _ in range(asked)]
            for what, instants in (("positions", positions), ("times", times)):
                took = sorted([await _answered(client, f"{path}?as_of={instant}") for instant in instants])
                figures += [
                    Figure("asof", f"{path} at {asked} {what}, median", median(took), "s"),
                    Figure("asof", f"{path} at {asked} {what}, largest", took[-1], "s", target, at_most=True),
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
        await log.append(connection, "pbx", 1, i + 1, batch)
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


Part = Callable[[Stage, int, int], Any]

PARTS: dict[str, Part] = {
    "parsing": parsing,
    "append": append,
    "ingest": ingest,
    "rebuild": rebuild,
    "beside": beside,
    "verify": verified,
    "view": view,
    "asof": asof,
    "latency": latency,
    "load": load,
    "evidence": evidence,
}
