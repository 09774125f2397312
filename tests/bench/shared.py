"""Shared by the parts of the bench: events, databases, and the best of some runs."""

import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg

from schemas.log import NewEvent
from services.asterisk.ami.protocol import LedgerProtocol
from services.database.connection import connect
from tests.bench.recording import played
from tests.bench.stage import Stage

READ_SIZE = 65536
TRIES = 3
"""The first run of a new server makes the files of its write-ahead log; the later ones find them there."""
NOW = datetime.now(UTC)


def received(data: Iterable[bytes]) -> list[NewEvent]:
    """Frame what a socket would deliver."""
    got: list[NewEvent] = []
    protocol = LedgerProtocol(got.extend, lambda _: None)
    protocol.closed = False
    for piece in data:
        protocol.data_received(piece)
    return got


def recorded_events(total: int) -> list[NewEvent]:
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
    connection = await connect(url, search_path="model, ledger")
    yield connection
    await connection.close()
