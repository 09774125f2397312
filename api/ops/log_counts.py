"""Counts of the log for ``/metrics``, read from PostgreSQL in one transaction, bounded in size."""

import asyncio

import asyncpg
from msgspec import Struct

from services.database.pool import Pool
from services.log.archives import ArchiveCatalog, read_catalog
from services.projector.checkpoints.checkpoints import CheckpointReading, read

FREQUENT_NAMES = 100
"""Event names of one PBX that have series of their own; events of all other names are summed."""
MAX_NAME_LENGTH = 100
OTHER = "other"
"""Source and name of that sum. No event has this source, so the sum never collides with a PBX's own event."""

# A PBX chooses the names of its events (UserEvent, or a broken PBX), so their number and length have no bound.
NAMES = f"""
WITH whole AS (
    SELECT pbx, sum(count)::bigint AS count FROM ledger.name GROUP BY pbx
), largest AS (
    SELECT w.pbx, n.source, n.name, n.count
    FROM whole w
    CROSS JOIN LATERAL (
        SELECT source, left(name, {MAX_NAME_LENGTH}) AS name, count FROM ledger.name
        WHERE pbx = w.pbx ORDER BY count DESC LIMIT {FREQUENT_NAMES}
    ) AS n
)
SELECT pbx, source, name, sum(count)::bigint AS count FROM largest GROUP BY 1, 2, 3
UNION ALL
SELECT w.pbx, '{OTHER}', '{OTHER}', w.count - sum(l.count)::bigint
FROM whole w JOIN largest l USING (pbx) GROUP BY w.pbx, w.count HAVING w.count > sum(l.count)
ORDER BY 1, 2, 3
"""
UNFIT = "SELECT model, count(*) FROM ledger.unfit GROUP BY 1 ORDER BY 1"
GAPS = """
SELECT pbx, count(*) AS count,
       sum(greatest(0, extract(epoch FROM coalesce(until_time, now()) - from_time)))::float8 AS seconds
FROM gaps GROUP BY 1 ORDER BY 1
"""

ANSWER_SECONDS = 3.0
"""Together with the two for the listeners (api/ops/listeners.py) a scrape is answered within five."""


class LogCounts(Struct, frozen=True):
    """Counts at one moment of the log."""

    reading: CheckpointReading
    names: list[asyncpg.Record]
    unfit: list[asyncpg.Record]
    gaps: list[asyncpg.Record]
    catalog: ArchiveCatalog


async def count_log(pool: Pool) -> LogCounts:
    """Read the counts. Raises one of UNREACHABLE."""
    async with (
        asyncio.timeout(ANSWER_SECONDS),
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        reading = await read(connection)
        return LogCounts(
            reading,
            await connection.fetch(NAMES),
            await connection.fetch(UNFIT),
            await connection.fetch(GAPS) if "gaps" in reading.models else [],
            await read_catalog(connection),
        )
