"""Reads the log as it was appended, batch by batch, with every column."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime
from functools import lru_cache

import asyncpg
from msgspec import Struct

from services.database import connection as database
from services.log.chain import LEAF, SALT, Batch, leaf

WINDOW = 8192
"""Positions are dense, so a window of them holds so many events at most, and what its last batch has more."""

POSTGRESQL_EPOCH = 946_684_800_000_000
DAY = 86_400_000_000

BATCHES = """
SELECT first, last, connection, ordinal, appended, earliest, pbx, hash, leaves, salts, month
FROM ledger.batch WHERE first > $1 AND first <= $2 ORDER BY first, last
"""
EVENTS = """
SELECT position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw
FROM ledger.event WHERE position >= $1 AND position <= $2 AND ($3::text IS NULL OR pbx = $3) ORDER BY position
"""


class Stretch(Struct):
    """The batches that begin after a position and not after ``upto``, the month of each, and rows of their events.

    A row is (position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw), times in microseconds.
    """

    upto: int
    batches: list[Batch]
    months: list[date]
    rows: list[asyncpg.Record]


async def connect(url: str, program: str) -> asyncpg.Connection:
    """Open a connection on which times are microseconds since the epoch, infinite ones too."""
    connection = await database.connect(url, application_name=program)
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        format="tuple",
        encoder=lambda microseconds: (microseconds - POSTGRESQL_EPOCH,),
        decoder=lambda value: value[0] + POSTGRESQL_EPOCH,
    )
    return connection


async def stretches(
    connection: asyncpg.Connection, after: int, upto: int, pbx: str | None = None
) -> AsyncGenerator[Stretch]:
    """Yield all batches that begin after ``after`` and not after ``upto``, and their events, of one PBX or of all.

    PostgreSQL reads the next ones meanwhile; the connection is free again once this iterator is closed.
    """
    ahead: asyncio.Task[Stretch] | None = None
    try:
        while after < upto:
            stretch = await (ahead or _read(connection, after, upto, pbx))
            ahead, after = None, stretch.upto
            if after < upto:
                ahead = asyncio.create_task(_read(connection, after, upto, pbx))
                await asyncio.sleep(0)  # the question is on its way
            yield stretch
    finally:
        if ahead is not None:
            await asyncio.wait([ahead])


async def _read(connection: asyncpg.Connection, after: int, upto: int, pbx: str | None) -> Stretch:
    stretch = await read_batches(connection, after, upto)
    stretch.rows = await read_rows(connection, stretch.batches, pbx)
    return stretch


async def read_batches(connection: asyncpg.Connection, after: int, upto: int) -> Stretch:
    """Return the batches of one window, without their events."""
    upto = min(after + WINDOW, upto)
    found = await connection.fetch(BATCHES, after, upto)
    return Stretch(upto, [Batch(*row[:10]) for row in found], [row[10] for row in found], [])


async def read_rows(
    connection: asyncpg.Connection, batches: list[Batch], pbx: str | None = None
) -> list[asyncpg.Record]:
    """Return the rows of all events of ``batches``, which follow on each other."""
    if not batches:
        return []
    # Where the last one ends its leaves say: its column may say anything, and all of the log would be read.
    end = batches[-1].first + len(batches[-1].leaves) // LEAF - 1
    rows: list[asyncpg.Record] = await connection.fetch(EVENTS, batches[0].first, end, pbx)
    return rows


def salt_at(batch: Batch, offset: int) -> bytes:
    """Return the salt of one event of a batch; it is empty, or cut, where the batch has none for it."""
    return batch.salts[offset * SALT : (offset + 1) * SALT]


def leaf_of(row: asyncpg.Record, salt: bytes) -> bytes:
    """Compute the leaf of an event's row anew."""
    return leaf(salt, row[3], row[4], row[7], row[8], row[9])


def month_of(appended: int) -> date:
    """Return the month in which a batch of that time must stand."""
    return _month(appended // DAY)


@lru_cache
def _month(day: int) -> date:
    try:
        return datetime.fromtimestamp(day * 86_400, UTC).date().replace(day=1)
    except (ValueError, OverflowError):
        return date.min  # no clock ever said so: nothing stands there
