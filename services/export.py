"""``ringledger export --ami``: the log's AMI events as the bytes that were received."""

from collections.abc import AsyncIterator
from typing import BinaryIO

import asyncpg

from services.progress import Bar

BATCH = 10_000

# What people decide through the API is about no PBX, and stands under the empty name.
KNOWN = "SELECT pbx FROM ledger.connection WHERE pbx <> '' GROUP BY pbx ORDER BY pbx"
HEAD = "SELECT position FROM ledger.head"
# By positions and not by one cursor over all: a transaction that stays open for minutes would keep the log's own
# tables from being tidied while the listener appends. Positions are dense and never change, so nothing is missed.
BLOCKS = """
SELECT raw FROM ledger.event
WHERE position > $1 AND position <= $2 AND pbx = $3 AND source = 'ami' AND name NOT LIKE 'Response:%'
ORDER BY position
"""


class UnknownPbxError(Exception):
    """The log holds nothing of a PBX of that name."""


async def blocks(connection: asyncpg.Connection, pbx: str, head: int) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yield the event blocks up to position ``head``, in order, with the position up to which they reach."""
    for after in range(0, head, BATCH):
        upto = min(after + BATCH, head)
        yield upto, [row[0] for row in await connection.fetch(BLOCKS, after, upto, pbx)]


async def export(url: str, pbx: str, out: BinaryIO) -> int:
    """Write every event block of ``pbx`` that is in the log now; return how many. Raises UnknownPbxError."""
    connection = await asyncpg.connect(url, server_settings={"application_name": "ringledger export"})
    try:
        try:
            known = [row[0] for row in await connection.fetch(KNOWN)]
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            known = []
        if pbx not in known:
            raise UnknownPbxError(f"the log holds no PBX {pbx!r}" + (f" (but {', '.join(known)})" if known else ""))
        head: int = await connection.fetchval(HEAD)
        written = 0
        with Bar("exporting") as progress:
            async for upto, batch in blocks(connection, pbx, head):
                out.write(b"".join(batch))
                written += len(batch)
                progress.show(upto, head)
        out.flush()
        return written
    finally:
        await connection.close()
