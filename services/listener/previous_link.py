"""The last link of a PBX in the log, as the next writer sees it."""

import asyncpg
from msgspec import Struct

# ledger.past has the last AMI link of archived months, but no ARI link.
PREVIOUS = """
WITH archived AS (SELECT * FROM ledger.past WHERE pbx = $1 AND $2 = 'Connected'),
beginning AS (
    (SELECT position, connection FROM ledger.event
     WHERE source = 'ringledger' AND pbx = $1 AND name = $2 ORDER BY position DESC LIMIT 1)
    UNION ALL
    (SELECT connected, connection FROM archived WHERE connected IS NOT NULL)
    ORDER BY position DESC LIMIT 1
),
ending AS (
    (SELECT position, connection FROM ledger.event
     WHERE source = 'ringledger' AND pbx = $1 AND name = $3 ORDER BY position DESC LIMIT 1)
    UNION ALL
    (SELECT disconnected, NULL FROM archived WHERE disconnected IS NOT NULL)
    ORDER BY position DESC LIMIT 1
)
SELECT b.connection AS begun_by, e.connection AS ended_by, b.position > coalesce(e.position, 0) AS is_open,
       extract(epoch FROM c.last_recorded)::float8 AS last_recorded,
       b.connection <> $4 AND (
           EXISTS (SELECT FROM ledger.event
                   WHERE source = 'ringledger' AND pbx = $1 AND name = $2 AND connection = $4)
           OR coalesce((SELECT fenced FROM ledger.connection WHERE pbx = $1 AND connection = $4) <
                       (SELECT appended FROM ledger.batch WHERE first <= b.position ORDER BY first DESC LIMIT 1), false)
       ) AS is_superseded
FROM beginning b LEFT JOIN ending e ON true
JOIN ledger.connection c ON c.pbx = $1 AND c.connection = b.connection
"""


class PreviousLink(Struct, frozen=True):
    """The last link in the log.

    ``begun_by`` and ``ended_by`` are writers; ``last_recorded`` is the time of ``begun_by``'s last event (seconds since
    the epoch). ``is_superseded``: the link began after another listener had taken this writer's place.
    """

    begun_by: int
    ended_by: int | None
    is_open: bool
    last_recorded: float
    is_superseded: bool


async def read_previous_link(
    connection: asyncpg.Connection, pbx: str, names: tuple[str, str], writer: int
) -> PreviousLink | None:
    """Return the last link in the log from the point of view of ``writer``, None before the first.

    ``names`` are the events that begin and end a link.
    """
    row = await connection.fetchrow(PREVIOUS, pbx, *names, writer)
    return PreviousLink(**row) if row is not None else None
