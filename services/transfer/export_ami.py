"""``ringledger export --ami``: the log's AMI events as the bytes that were received, secrets masked."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import BinaryIO

import asyncpg

from services.database import connection as database
from services.log import archives as edge
from services.log.archives import ArchivedError, Edge
from services.runtime.masking.ami import masked
from services.runtime.progress import Bar

BATCH = 10_000

# What people decide through the API is about no PBX, and stands under the empty name.
KNOWN = "SELECT pbx FROM ledger.connection WHERE pbx <> '' GROUP BY pbx ORDER BY pbx"
HEAD = "SELECT position FROM ledger.head"
SINCE = "SELECT min(first) FROM ledger.batch WHERE appended >= to_timestamp(0) + $1 * interval '1 microsecond'"
UNTIL = "SELECT max(last) FROM ledger.batch WHERE appended < to_timestamp(0) + $1 * interval '1 microsecond'"
# By positions and not by one cursor over all: a transaction that stays open for minutes would keep the log's own
# tables from being tidied while the listener appends. Positions are dense and never change, so nothing is missed.
BLOCKS = """
SELECT raw FROM ledger.event
WHERE position > $1 AND position <= $2 AND pbx = $3 AND source = 'ami' AND name NOT LIKE 'Response:%'
ORDER BY position
"""

Bound = int | datetime | None
"""Where an export begins or ends: a position, which is part of it, or a time of appending: from it on, before it."""


class UnknownPbxError(Exception):
    """The log holds nothing of a PBX of that name."""


def bound(text: str) -> int | datetime:
    """Read a position, or a time as RFC 3339 has it. Raises ValueError."""
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is not None:
            return when
    except ValueError:
        pass
    raise ValueError(f"{text!r} is neither a position nor a time with its zone (2026-11-24T14:03:00Z)")


async def known(connection: asyncpg.Connection, pbx: str) -> None:
    """Raise UnknownPbxError unless the log holds something of ``pbx``."""
    try:
        names = [row[0] for row in await connection.fetch(KNOWN)]
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        names = []
    if pbx not in names:
        raise UnknownPbxError(f"the log holds no PBX {pbx!r}" + (f" (but {', '.join(names)})" if names else ""))


async def span(connection: asyncpg.Connection, since: Bound, until: Bound) -> tuple[int, int]:
    """Return the first and the last position between two bounds, as far as the log goes now. Raises ArchivedError."""
    head: int = await connection.fetchval(HEAD)
    archived = await edge.read(connection)
    for bound in (since, until):
        _not_archived(archived, bound)
    first, last = archived.position + 1 if since is None else since, until
    if isinstance(since, datetime):
        first = await connection.fetchval(SINCE, edge.microseconds(since)) or head + 1
    if isinstance(until, datetime):
        last = await connection.fetchval(UNTIL, edge.microseconds(until)) or 0
    assert isinstance(first, int)
    assert not isinstance(last, datetime)
    return max(1, first), head if last is None else min(head, last)


def _not_archived(archived: Edge, bound: Bound) -> None:
    if not archived or bound is None:
        return
    if isinstance(bound, datetime):
        if (at := edge.microseconds(bound)) <= archived.ended:
            raise ArchivedError(bound.isoformat().replace("+00:00", "Z"), archived.ended_by(at))
    elif (archive := archived.holding(max(1, bound))) is not None:
        raise ArchivedError(f"position {bound}", archive)


async def blocks(
    connection: asyncpg.Connection, pbx: str, head: int, begin: int = 1
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yield the event blocks up to position ``head``, in order, with the position up to which they reach."""
    for after in range(begin - 1, head, BATCH):
        upto = min(after + BATCH, head)
        yield upto, [masked(row[0]) for row in await connection.fetch(BLOCKS, after, upto, pbx)]


async def export(url: str, pbx: str, out: BinaryIO, since: Bound = None, until: Bound = None) -> int:
    """Write every event block of ``pbx`` that is in the log now; return how many.

    Raises UnknownPbxError and ArchivedError.
    """
    connection = await database.connect(url, application_name="ringledger export")
    try:
        await known(connection, pbx)
        first, head = await span(connection, since, until)
        written = 0
        with Bar("exporting") as progress:
            async for upto, batch in blocks(connection, pbx, head, first):
                out.write(b"".join(batch))
                written += len(batch)
                progress.show(upto, head)
        out.flush()
        return written
    finally:
        await connection.close()
