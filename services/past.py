"""What the log says of a PBX's earlier links."""

import asyncpg
import msgspec
from msgspec import Struct

# Where the log says nothing, ledger.past says what those months said that were archived.
PAST = """
WITH archived AS (SELECT * FROM ledger.past WHERE pbx = $1),
link AS (
    (SELECT position, connection FROM ledger.event
     WHERE source = 'ringledger' AND pbx = $1 AND name = 'Connected' ORDER BY position DESC LIMIT 1)
    UNION ALL
    (SELECT connected, connection FROM archived WHERE connected IS NOT NULL)
    ORDER BY position DESC LIMIT 1
)
SELECT (SELECT raw FROM ledger.event WHERE source = 'ringledger' AND pbx = $1 AND name = 'SnapshotStarted'
        ORDER BY position DESC LIMIT 1) AS snapshot,
       (SELECT epoch FROM archived) AS epoch,
       (SELECT extract(epoch FROM c.last_recorded)::float8
        FROM link JOIN ledger.connection c ON c.pbx = $1 AND c.connection = link.connection
        WHERE link.position > greatest(0, (SELECT max(position) FROM ledger.event
                                           WHERE source = 'ringledger' AND pbx = $1 AND name = 'Disconnected'),
                                       (SELECT disconnected FROM archived))
       ) AS connected_until
"""


class Past(Struct, frozen=True):
    """What the log says of a PBX's earlier links.

    ``epoch`` is that of the last snapshot. ``connected_until`` is None unless the last link's end is missing; then it
    is when its last event was recorded (seconds since the epoch).
    """

    epoch: int
    connected_until: float | None


async def read_past(connection: asyncpg.Connection, pbx: str) -> Past:
    """Return what a new listener of ``pbx`` must know of those before it."""
    row = await connection.fetchrow(PAST, pbx)
    epoch = msgspec.json.decode(row["snapshot"])["epoch"] if row["snapshot"] else row["epoch"] or 0
    return Past(epoch, row["connected_until"])
