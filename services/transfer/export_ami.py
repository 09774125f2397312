"""``ringledger export --ami``: writes the log's AMI events as the bytes that were received, secrets masked."""

from collections.abc import AsyncIterator
from typing import BinaryIO

import asyncpg

from services.database.connection import connect
from services.log.bounds import Bound, positions_between, require_pbx
from services.runtime.masking.ami import mask_block
from services.runtime.progress import ProgressBar

BATCH_POSITIONS = 10_000

# Read by positions and not with one cursor: a transaction of minutes would keep VACUUM from the log's own tables while
# the listener appends. Positions are dense and never change, so nothing is skipped.
BLOCKS = """
SELECT raw FROM ledger.event
WHERE position > $1 AND position <= $2 AND pbx = $3 AND source = 'ami' AND name NOT LIKE 'Response:%'
ORDER BY position
"""


async def read_blocks(
    connection: asyncpg.Connection, pbx: str, last: int, first: int = 1
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yield the event blocks from position ``first`` to ``last`` in order, each list with its last position."""
    for after in range(first - 1, last, BATCH_POSITIONS):
        until = min(after + BATCH_POSITIONS, last)
        yield until, [mask_block(row[0]) for row in await connection.fetch(BLOCKS, after, until, pbx)]


async def export_ami(url: str, pbx: str, out: BinaryIO, since: Bound = None, until: Bound = None) -> int:
    """Write every event block of ``pbx`` between two bounds; return their number.

    Raises UnknownPbxError and ArchivedError.
    """
    connection = await connect(url, application_name="ringledger export")
    try:
        await require_pbx(connection, pbx)
        first, last = await positions_between(connection, since, until)
        written = 0
        with ProgressBar("exporting") as progress:
            async for position, blocks in read_blocks(connection, pbx, last, first):
                out.write(b"".join(blocks))
                written += len(blocks)
                progress.show(position, last)
        out.flush()
        return written
    finally:
        await connection.close()
