"""Reads events of the log by position and name."""

from collections.abc import Sequence

import asyncpg

from schemas.log import RecordedEvent

HEAD = "SELECT position, hash, appended FROM ledger.head"
READ = """
SELECT position, pbx, source, name, at, raw, recorded
FROM (
    SELECT position, pbx, source, name, coalesce(occurred, recorded) AS at, raw, recorded,
           sum(octet_length(raw)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - octet_length(raw) AS before
    FROM ledger.event
    WHERE position > $1 AND position <= $2
      AND (name = ANY($3::text[]) OR position = (SELECT least(position, $2) FROM ledger.head))
) e
WHERE before < $4
ORDER BY position
"""
READ_BYTES = 64 << 20
"""A read ends after this many bytes: an event may have four megabytes, and a batch thousands of events."""


async def read_events(
    connection: asyncpg.Connection, after: int, until: int, names: Sequence[str]
) -> list[asyncpg.Record]:
    """Return the rows of events with one of ``names`` after one position and until another, as for `recorded_event`.

    The last event of that range is always included, whatever its name. A result of more than `READ_BYTES` is cut after
    at least one event; the next read continues after its last row.
    """
    rows: list[asyncpg.Record] = await connection.fetch(READ, after, until, names, READ_BYTES)
    return rows


def recorded_event(row: asyncpg.Record) -> RecordedEvent:
    """Return the Struct of a row of `read_events`."""
    return RecordedEvent(*row[:7])


async def head_position(connection: asyncpg.Connection) -> int:
    """Return the position of the log's last event, 0 for an empty log."""
    position: int = await connection.fetchval(HEAD)
    return position


async def read_head(connection: asyncpg.Connection) -> asyncpg.Record:
    """Return the position and hash of the log's end, and the time of the last append."""
    return await connection.fetchrow(HEAD)
