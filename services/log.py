"""The event log: appending to it and reading from it. The table and the function are in ``services/sql``."""

from collections.abc import Sequence

import asyncpg

from schemas.log import Received, Recorded

APPEND = "SELECT ledger.append($1, $2, $3, $4, $5, $6, $7, $8)"

READ = """
SELECT position, pbx, source, name, coalesce(occurred, recorded), raw, recorded
FROM ledger.event
WHERE position > $1 AND position <= $2
  AND (name = ANY($3::text[]) OR position = (SELECT least(position, $2) FROM ledger.head))
ORDER BY position
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


async def read(connection: asyncpg.Connection, after: int, upto: int, names: Sequence[str]) -> list[asyncpg.Record]:
    """Return the events called one of ``names`` after ``after`` and not after ``upto``, and in any case the last.

    Each is a row as `recorded` takes it, with the time of recording as one more column.
    """
    rows: list[asyncpg.Record] = await connection.fetch(READ, after, upto, names)
    return rows


def recorded(row: asyncpg.Record) -> Recorded:
    """Make a Struct of a row of `read`."""
    return Recorded(*row[:6])


async def head(connection: asyncpg.Connection) -> int:
    """Return the position of the log's last event, 0 when it is empty."""
    position: int = await connection.fetchval("SELECT position FROM ledger.head")
    return position
