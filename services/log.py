"""The event log: appending to it and reading from it. The table and the function are in ``services/sql``."""

from collections.abc import Sequence

import asyncpg
import msgspec
from msgspec import Struct

from schemas.log import Received, Recorded

APPEND = "SELECT ledger.append($1, $2, $3, $4, $5, $6, $7, $8)"

READ = """
SELECT position, pbx, source, name, coalesce(occurred, recorded), raw, recorded
FROM ledger.event WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3
"""


PAST = """
SELECT (SELECT raw FROM ledger.event WHERE source = 'ringledger' AND pbx = $1 AND name = 'SnapshotStarted'
        ORDER BY position DESC LIMIT 1) AS snapshot,
       (SELECT max(position) FROM ledger.event WHERE source = 'ringledger' AND pbx = $1 AND name = 'Connected')
       > coalesce((SELECT max(position) FROM ledger.event
                   WHERE source = 'ringledger' AND pbx = $1 AND name = 'Disconnected'), 0) AS connected,
       (SELECT extract(epoch FROM max(last_recorded))::float8 FROM ledger.connection WHERE pbx = $1) AS heard
"""


class Past(Struct, frozen=True):
    """What the log says of a PBX's earlier links.

    ``epoch`` is that of the last snapshot. ``connected_until`` is None unless the last link's end is missing; then it
    is when its last event was recorded (seconds since the epoch).
    """

    epoch: int
    connected_until: float | None


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


async def past(connection: asyncpg.Connection, pbx: str) -> Past:
    """Return what a new listener of ``pbx`` must know of those before it."""
    row = await connection.fetchrow(PAST, pbx)
    epoch = msgspec.json.decode(row["snapshot"])["epoch"] if row["snapshot"] else 0
    return Past(epoch, row["heard"] if row["connected"] else None)


async def read(connection: asyncpg.Connection, after: int, upto: int, limit: int) -> list[asyncpg.Record]:
    """Return up to ``limit`` events after position ``after`` and not after ``upto``; see `recorded`."""
    rows: list[asyncpg.Record] = await connection.fetch(READ, after, upto, limit)
    return rows


def recorded(row: asyncpg.Record) -> Recorded:
    """Make a Struct of a row of `read`, whose last column (when it was recorded) is left out."""
    return Recorded(*row[:6])


async def head(connection: asyncpg.Connection) -> int:
    """Return the position of the log's last event, 0 when it is empty."""
    position: int = await connection.fetchval("SELECT position FROM ledger.head")
    return position
