"""``ringledger export --ami``: the log's AMI events as the bytes that were received, secrets masked."""

from collections.abc import AsyncIterator
from typing import BinaryIO

import asyncpg

from services.database import connection as database
from services.log.bounds import Bound, positions_between, require_pbx
from services.runtime.masking.ami import mask_block
from services.runtime.progress import Bar

BATCH = 10_000

# By positions and not by one cursor over all: a transaction that stays open for minutes would keep the log's own
# tables from being tidied while the listener appends. Positions are dense and never change, so nothing is missed.
BLOCKS = """
SELECT raw FROM ledger.event
WHERE position > $1 AND position <= $2 AND pbx = $3 AND source = 'ami' AND name NOT LIKE 'Response:%'
ORDER BY position
"""


async def blocks(
    connection: asyncpg.Connection, pbx: str, head: int, begin: int = 1
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yield the event blocks up to position ``head``, in order, with the position up to which they reach."""
    for after in range(begin - 1, head, BATCH):
        upto = min(after + BATCH, head)
        yield upto, [mask_block(row[0]) for row in await connection.fetch(BLOCKS, after, upto, pbx)]


async def export(url: str, pbx: str, out: BinaryIO, since: Bound = None, until: Bound = None) -> int:
    """Write every event block of ``pbx`` that is in the log now; return how many.

    Raises UnknownPbxError and ArchivedError.
    """
    connection = await database.connect(url, application_name="ringledger export")
    try:
        await require_pbx(connection, pbx)
        first, head = await positions_between(connection, since, until)
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
