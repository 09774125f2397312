"""The bench of the way into the log, and of the chain over it."""

import asyncio
import time
import uuid

import asyncpg
from panoramisk.ami_protocol import AMIProtocol

from projections import ALL
from projections.engine.headers import headers_of
from projections.engine.subscriptions import subscriptions_of
from schemas.log import NewEvent, RecordedEvent
from services.integrity.chain_walk import walk_chain
from services.log.append import append_events
from tests.bench.pipeline import pipeline
from tests.bench.recording import played
from tests.bench.report import Figure
from tests.bench.shared import NOW, READ_SIZE, TRIES, connected, per_second, received, recorded_events
from tests.bench.stage import BrokenError, Stage
from tests.captures import wire


async def parsing(_: Stage, __: int, ___: int) -> list[Figure]:
    """Framing and parsing of a recording with 141 event types, against panoramisk's own parser."""
    data = wire("rich22")
    reads = [data[i : i + READ_SIZE] for i in range(0, len(data), READ_SIZE)]
    total = len(received(reads))

    def ours() -> None:
        for e in received(reads):
            headers_of(RecordedEvent(1, "pbx", "ami", e.name, NOW, e.raw, NOW))

    taking = subscriptions_of(ALL)

    def read() -> None:
        for e in received(reads):
            chosen, _ = taking.get(e.name, (None, ()))
            if chosen:
                chosen.parse(RecordedEvent(1, "pbx", "ami", e.name, NOW, e.raw, NOW))

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
        ours = max(ours, total / (run.log[-1][0] - run.start))
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
            await append_events(connection, "pbx", 1, number * 100 + 1, batch)
        ours = len(events) / (time.perf_counter() - start)
    await stage.database("recorder")
    theirs = await asyncio.to_thread(_eventsourcing, stage, batches)
    await stage.drop("recorder")
    return [
        Figure("append", "batches of 100, ours", ours, "events/s"),
        Figure("append", "eventsourcing's recorder", theirs, "events/s"),
        Figure("append", "ours to eventsourcing's", ours / theirs, "x"),
    ]


def _eventsourcing(stage: Stage, batches: list[list[NewEvent]]) -> float:
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


async def verified(stage: Stage, total: int, _: int) -> list[Figure]:
    """The whole log against its chain: every column of every event, every leaf and link; its processes' start too."""
    total = total * 5 // 2
    size = done = 0
    best = 1e9
    async with connected(stage, "verify") as connection:
        for _, data in played(total, 1_800_000_000, 4096):
            events = received([data])
            await append_events(connection, "pbx", 1, done + 1, events)
            size, done = size + sum(len(e.raw) for e in events), done + len(events)
        for _ in range(TRIES):
            start = time.perf_counter()
            good = await walk_chain(stage.server.url.replace("/postgres?", "/verify?"))
            best = min(best, time.perf_counter() - start)
    if (good.events, good.size) != (total, size):
        raise BrokenError(f"{good.events} events of {good.size} bytes were verified, not {total} of {size}")
    return [
        Figure("verify", f"raw bytes of {total:,} events, the best of {TRIES}", size / 1e6 / best, "MB/s", 100),
        Figure("verify", "events", total / best, "events/s"),
    ]
