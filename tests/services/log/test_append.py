"""`ledger.append`: its guarantees for writers and readers."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import asyncpg
import pytest

from schemas.log import NewEvent
from services.log.append import append_events
from services.log.read import head_position
from tests.support.cable import Cable
from tests.support.polling import eventually

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
AFTER = "SELECT position, raw FROM ledger.event WHERE position > $1 ORDER BY position"


def events(*raws: str) -> list[NewEvent]:
    return [NewEvent("ami", "VarSet", None, 1.0, raw.encode()) for raw in raws]


@pytest.fixture
async def connections(url: str) -> AsyncIterator[list[asyncpg.Connection]]:
    opened = [await asyncpg.connect(url) for _ in range(4)]
    yield opened
    for one in opened:
        await one.close()


async def test_a_reader_never_skips_a_later_commit(connections: list[asyncpg.Connection]) -> None:
    slow, quick, reader, watcher = connections
    transaction = slow.transaction()
    await transaction.start()
    assert (
        await append_events(slow, "a", 1, 1, events("slow 1", "slow 2")) == 2
    )  # written, holds the lock, not committed
    appending = asyncio.create_task(append_events(quick, "b", 1, 1, events("quick 1")))
    await until_waiting(watcher)
    assert not appending.done()
    read: list[bytes] = []
    position = 0

    async def more() -> None:
        nonlocal position
        for row in await reader.fetch(AFTER, position):
            position = row["position"]
            read.append(row["raw"])

    await more()
    assert read == []  # neither: the second must not be seen before the first
    await transaction.commit()
    assert await appending == 3
    await more()
    assert read == [b"slow 1", b"slow 2", b"quick 1"]


async def test_a_writer_that_rolls_back_leaves_no_hole(connections: list[asyncpg.Connection]) -> None:
    first, second, _, watcher = connections
    transaction = first.transaction()
    await transaction.start()
    await append_events(first, "a", 1, 1, events("never"))
    appending = asyncio.create_task(append_events(second, "b", 1, 1, events("kept")))
    await until_waiting(watcher)
    await transaction.rollback()
    assert await appending == 1
    assert await append_events(first, "a", 1, 1, events("again")) == 2


async def test_an_append_may_be_repeated_whole_or_overlapping(connections: list[asyncpg.Connection]) -> None:
    one, *_ = connections
    assert await append_events(one, "a", 1, 1, events("1", "2", "3")) == 3
    assert await append_events(one, "a", 1, 1, events("1", "2", "3")) == 3
    assert await append_events(one, "a", 1, 2, events("2", "3", "4", "5")) == 5
    assert await append_events(one, "a", 1, 3, []) == 5
    rows = await one.fetch("SELECT position, ordinal, raw FROM ledger.event ORDER BY position")
    assert [tuple(row) for row in rows] == [(n, n, str(n).encode()) for n in range(1, 6)]


async def test_a_lost_answer_repeats_no_event(url: str) -> None:
    async with Cable.to_postgresql(url) as cable:
        far = cable.url(url)
        connection = await asyncpg.connect(far)
        cable.lose_answer = b"s\0\0\0\4Z\0\0\0\5I"  # one row was fetched, the transaction is over
        with pytest.raises((asyncpg.PostgresConnectionError, OSError)):
            await append_events(connection, "a", 1, 1, events("1", "2"))
        assert cable.lost == 1
        connection.terminate()
        again = await asyncpg.connect(far)
        assert await again.fetchval("SELECT count(*) FROM ledger.event") == 2  # it was committed
        assert await append_events(again, "a", 1, 1, events("1", "2")) == 2
        assert await again.fetchval("SELECT count(*) FROM ledger.event") == 2
        await again.close()


async def test_missing_ordinals_raise_and_write_nothing(connections: list[asyncpg.Connection]) -> None:
    one, *_ = connections
    await append_events(one, "a", 1, 1, events("1"))
    for first in (3, 100):
        with pytest.raises(asyncpg.DataError, match="events are missing"):
            await append_events(one, "a", 1, first, events("x"))
    with pytest.raises(asyncpg.DataError, match="events are missing"):
        await append_events(one, "a", 2, 2, events("x"))
    assert await head_position(one) == 1
    assert await append_events(one, "a", 1, 2, events("2")) == 2


async def test_many_writers_have_dense_ordered_positions(connections: list[asyncpg.Connection]) -> None:
    async def write(connection: asyncpg.Connection, pbx: str) -> None:
        first = 1
        for size in itertools.islice(itertools.cycle((1, 7, 40, 3)), 40):
            await append_events(connection, pbx, 9, first, events(*(f"{pbx} {first + i}" for i in range(size))))
            first += size

    await asyncio.gather(*(write(one, f"pbx{n}") for n, one in enumerate(connections)))
    rows = await connections[0].fetch("SELECT position, pbx, ordinal, raw FROM ledger.event ORDER BY position")
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) == 4 * 510 == await head_position(connections[0])
    for n in range(4):
        own = [row for row in rows if row["pbx"] == f"pbx{n}"]
        assert [row["ordinal"] for row in own] == list(range(1, 511))
        assert [row["raw"] for row in own] == [f"pbx{n} {i}".encode() for i in range(1, 511)]


async def until_waiting(watcher: asyncpg.Connection) -> None:
    """Until another connection waits for the lock."""
    rows: list[int] = []

    async def look() -> None:
        while not rows:
            if await watcher.fetchval(WAITING):
                rows.append(1)

    task = asyncio.create_task(look())
    await eventually(lambda: rows)
    await task
