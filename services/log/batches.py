"""Reads the log batch by batch, with every column."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime
from functools import lru_cache

import asyncpg
from msgspec import Struct

from services.database.connection import connect
from services.log.chain import LEAF_BYTES, SALT_BYTES, SealedBatch, leaf

WINDOW_POSITIONS = 8192
"""Positions of one slice. Positions are dense, so a slice has as many events, and the rest of its last batch."""

POSTGRESQL_EPOCH_MICROSECONDS = 946_684_800_000_000
DAY_MICROSECONDS = 86_400_000_000

BATCHES = """
SELECT first, last, connection, ordinal, appended, earliest, pbx, hash, leaves, salts, month
FROM ledger.batch WHERE first > $1 AND first <= $2 ORDER BY first, last
"""
EVENTS = """
SELECT position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw
FROM ledger.event WHERE position >= $1 AND position <= $2 AND ($3::text IS NULL OR pbx = $3) ORDER BY position
"""


class LogSlice(Struct):
    """The batches that begin after one position and until another, the month of each, and rows of their events.

    A row is (position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw), times in microseconds.
    """

    until: int
    batches: list[SealedBatch]
    months: list[date]
    rows: list[asyncpg.Record]


async def connect_microseconds(url: str, program: str) -> asyncpg.Connection:
    """Open a connection whose timestamps are microseconds since the epoch, infinite ones too."""
    connection = await connect(url, application_name=program)
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        format="tuple",
        encoder=lambda microseconds: (microseconds - POSTGRESQL_EPOCH_MICROSECONDS,),
        decoder=lambda value: value[0] + POSTGRESQL_EPOCH_MICROSECONDS,
    )
    return connection


async def read_slices(
    connection: asyncpg.Connection, after: int, until: int, pbx: str | None = None
) -> AsyncGenerator[LogSlice]:
    """Yield the batches that begin after ``after`` and until ``until``, with their events of one PBX or of all.

    PostgreSQL reads the next slice while the caller works; the connection is free once this iterator is closed.
    """
    ahead: asyncio.Task[LogSlice] | None = None
    try:
        while after < until:
            part = await (ahead or _read_slice(connection, after, until, pbx))
            ahead, after = None, part.until
            if after < until:
                ahead = asyncio.create_task(_read_slice(connection, after, until, pbx))
                await asyncio.sleep(0)  # lets the task send its query
            yield part
    finally:
        if ahead is not None:
            await asyncio.wait([ahead])


async def _read_slice(connection: asyncpg.Connection, after: int, until: int, pbx: str | None) -> LogSlice:
    part = await read_batches(connection, after, until)
    part.rows = await read_rows(connection, part.batches, pbx)
    return part


async def read_batches(connection: asyncpg.Connection, after: int, until: int) -> LogSlice:
    """Return the batches of one window, without their events."""
    until = min(after + WINDOW_POSITIONS, until)
    rows = await connection.fetch(BATCHES, after, until)
    return LogSlice(until, [SealedBatch(*row[:10]) for row in rows], [row[10] for row in rows], [])


async def read_rows(
    connection: asyncpg.Connection, batches: list[SealedBatch], pbx: str | None = None
) -> list[asyncpg.Record]:
    """Return the rows of all events of consecutive batches."""
    if not batches:
        return []
    # The leaves give the end of the last batch: a forged column "last" could cause a read of the whole log.
    end = batches[-1].first + len(batches[-1].leaves) // LEAF_BYTES - 1
    rows: list[asyncpg.Record] = await connection.fetch(EVENTS, batches[0].first, end, pbx)
    return rows


def salt_at(batch: SealedBatch, offset: int) -> bytes:
    """Return the salt of one event of a batch; it is empty or short if the batch lacks it."""
    return batch.salts[offset * SALT_BYTES : (offset + 1) * SALT_BYTES]


def leaf_of(row: asyncpg.Record, salt: bytes) -> bytes:
    """Return the correct leaf of an event's row."""
    return leaf(salt, row[3], row[4], row[7], row[8], row[9])


def month_of(appended: int) -> date:
    """Return the month of a batch that was appended at this time (microseconds)."""
    return _month(appended // DAY_MICROSECONDS)


@lru_cache
def _month(day: int) -> date:
    try:
        return datetime.fromtimestamp(day * 86_400, UTC).date().replace(day=1)
    except (ValueError, OverflowError):
        return date.min  # a forged time: no partition has it
