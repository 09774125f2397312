"""The epoch of a PBX's last snapshot; epochs rise with every snapshot, also across restarts."""

import asyncpg
import msgspec

# If the log has no snapshot, ledger.past has the epoch of the months that were archived.
EPOCH = """
SELECT (SELECT raw FROM ledger.event WHERE source = 'ringledger' AND pbx = $1 AND name = 'SnapshotStarted'
        ORDER BY position DESC LIMIT 1) AS snapshot,
       (SELECT epoch FROM ledger.past WHERE pbx = $1) AS epoch
"""


async def read_epoch(connection: asyncpg.Connection, pbx: str) -> int:
    """Return the epoch of the last snapshot of ``pbx`` in the log, 0 without one."""
    row = await connection.fetchrow(EPOCH, pbx)
    epoch: int = msgspec.json.decode(row["snapshot"])["epoch"] if row["snapshot"] else row["epoch"] or 0
    return epoch
