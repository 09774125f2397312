"""The chain over the log: every append is sealed, in SQL as in Python, and months turn by themselves."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from schemas.log import NewEvent
from services.log.append import APPEND, append_events
from services.log.chain import LEAF_BYTES, SALT_BYTES, ZERO_LINK, SealedBatch, leaf, split
from tests.support.chain import BATCHES, EVENTS
from tests.support.log_clock import set_clock


def events(*raws: str, at: float = 1_795_000_000.25) -> list[NewEvent]:
    return [NewEvent("ami", "VarSet", at - 0.5, at, raw.encode()) for raw in raws]


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(url)
    yield opened
    await opened.close()


async def sealed(connection: asyncpg.Connection) -> list[SealedBatch]:
    """Return all batches after computing every leaf and link again; no salt comes twice."""
    batches = [SealedBatch(*row) for row in await connection.fetch(BATCHES)]
    before, ended = ZERO_LINK, 0
    for batch in batches:
        rows = await connection.fetch(EVENTS, batch.first, batch.last)
        leaves = b"".join([leaf(salt, *row) for salt, row in zip(split(batch.salts, SALT_BYTES), rows, strict=True)])
        assert leaves == batch.leaves
        assert len(leaves) == LEAF_BYTES * (batch.last - batch.first + 1)
        assert batch.first == ended + 1
        assert batch.hash == batch.link(before)
        before, ended = batch.hash, batch.last
    assert len({salt for batch in batches for salt in split(batch.salts, SALT_BYTES)}) == ended
    assert tuple(await connection.fetchrow("SELECT position, hash FROM ledger.head")) == (ended, before)
    assert await connection.fetchval("SELECT coalesce(sum(count), 0) FROM ledger.name") == ended
    return batches


async def test_python_and_sql_seal_alike(connection: asyncpg.Connection) -> None:
    odd = NewEvent("ringledger", "Né\n x", None, 0.000_001, b"\0\xff")
    assert await sealed(connection) == []
    await append_events(connection, "a", 1, 1, events("1", "2", "3"))
    await append_events(connection, "b ü", 9, 1, [odd, *events("", at=8_999_999_999.999_999)])
    await append_events(connection, "a", 1, 2, events("2", "3", "4", "5"))  # two of them are there
    first, second, third = await sealed(connection)
    assert (second.pbx, second.earliest) == ("b ü", 1)
    assert (third.first, third.last, third.ordinal) == (6, 7, 4)
    assert first.appended <= second.appended <= third.appended
    counted = await connection.fetch("SELECT pbx, source, name, count, last FROM ledger.name ORDER BY last")
    assert [tuple(row) for row in counted] == [
        ("b ü", "ringledger", "Né\n x", 1, 4),
        ("b ü", "ami", "VarSet", 1, 5),
        ("a", "ami", "VarSet", 5, 7),
    ]


@pytest.mark.parametrize(
    ("leaves", "salts"),
    [(2 * LEAF_BYTES, SALT_BYTES), (LEAF_BYTES, 2 * SALT_BYTES), (LEAF_BYTES, SALT_BYTES - 1), (LEAF_BYTES, 0)],
)
async def test_leaves_and_salts_of_other_sizes_are_refused(
    connection: asyncpg.Connection, leaves: int, salts: int
) -> None:
    why = f"{leaves} bytes of leaves and {salts} of salts for 1 events"
    with pytest.raises(asyncpg.InvalidParameterValueError, match=why):
        await connection.execute(
            APPEND, "a", 1, 1, ["ami"], ["VarSet"], [1], [None], [1], [1], b"x", bytes(leaves), bytes(salts)
        )
    assert await sealed(connection) == []


async def test_a_fenced_writer_appends_only_earlier_events(connection: asyncpg.Connection) -> None:
    await append_events(connection, "a", 1, 1, events("1", at=100.0))
    await connection.execute("UPDATE ledger.connection SET fenced = to_timestamp(200)")
    with pytest.raises(asyncpg.LockNotAvailableError, match="another listener took over"):
        await append_events(connection, "a", 1, 2, [*events("2", at=200.0), *events("3", at=200.1)])
    assert await append_events(connection, "a", 1, 2, events("2", at=200.0)) == 2
    assert await append_events(connection, "a", 2, 1, events("3", at=200.1)) == 3
    await sealed(connection)


async def test_months_turn_by_themselves(connection: asyncpg.Connection) -> None:
    parts = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1"
    for number, day in enumerate(("2031-01-31 23:59:59", "2031-02-01", "2031-01-15", "2031-04-30"), 1):
        await set_clock(connection, f"{day}+00")
        await append_events(connection, "a", 1, number, events(str(number)))
    rows = await connection.fetch("SELECT position, month::text, tableoid::regclass::text FROM ledger.event ORDER BY 1")
    assert [tuple(row) for row in rows] == [
        (1, "2031-01-01", "ledger.event_2031_01"),
        (2, "2031-02-01", "ledger.event_2031_02"),
        (3, "2031-02-01", "ledger.event_2031_02"),  # a clock that steps back takes no month back
        (4, "2031-04-01", "ledger.event_2031_04"),
    ]
    for table in ("event", "batch"):
        names = [row[0] for row in await connection.fetch(parts, f"ledger.{table}")]
        assert names[-3:] == [f"ledger.{table}_2031_{month}" for month in ("01", "02", "04")]
    await sealed(connection)
