"""The event log: appending to it and reading from it. The table and the function are in ``services/sql``."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from schemas.log import Received, Recorded

APPEND = "SELECT ledger.append($1, $2, $3, $4, $5, $6, $7, $8)"

READ = """
SELECT position, pbx, source, name, coalesce(occurred, recorded), raw
FROM ledger.event WHERE position > $1 AND position <= $2 AND name = ANY($3::text[]) ORDER BY position
"""
LAST = """
SELECT position, recorded FROM ledger.event WHERE position > $1 AND position <= $2 ORDER BY position DESC LIMIT 1
"""


async def append(
    connection: asyncpg.Connection,
    pbx: str,
    writer: int,
    first: int,
    events: Sequence[Received],
) -> int:
    """Append ``events`` as ordinals ``first``... of (pbx, writer); return the last position once it is durable.

    May be repeated after any failure: what is in the log already is not appended again. Raises
    asyncpg.DataError if ordinals before ``first`` are missing.
    """
    position: int = await connection.fetchval(
        APPEND,
        pbx,
        writer,
        first,
        [e.source for e in events],
        [e.name for e in events],
        [e.occurred for e in events],
        [e.recorded for e in events],
        [e.raw for e in events],
    )
    return position


async def last(connection: asyncpg.Connection, after: int, upto: int) -> tuple[int, datetime] | None:
    """Return position and recording time of the last event after ``after`` and not after ``upto``, None if none is."""
    row = await connection.fetchrow(LAST, after, upto)
    return None if row is None else (row[0], row[1])


async def read(connection: asyncpg.Connection, after: int, upto: int, names: Sequence[str]) -> list[asyncpg.Record]:
    """Return the events called one of ``names`` after ``after`` and not after ``upto``, each as `recorded` takes it."""
    rows: list[asyncpg.Record] = await connection.fetch(READ, after, upto, names)
    return rows


def recorded(row: asyncpg.Record) -> Recorded:
    """Make a Struct of a row of `read`."""
    return Recorded(*row)


async def head(connection: asyncpg.Connection) -> int:
    """Return the position of the log's last event, 0 when it is empty."""
    position: int = await connection.fetchval("SELECT position FROM ledger.head")
    return position
