"""Takes months out of the log, in one transaction that waits for nobody and that nobody waits for."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import asyncpg

from projections import ALL
from services.database.locks import Lock
from services.retention.archive_files import Written

TRIES = 60
PAUSE_SECONDS = 1.0

STALE = """
SELECT EXISTS (SELECT FROM ledger.checkpoint c
               WHERE c.version = 0 OR EXISTS (SELECT FROM ledger.stale s WHERE s.model = c.model))
"""
# Who stands before the edge would find nothing to go on with.
BEHIND = """
SELECT model, place, position, error FROM ledger.checkpoint
WHERE model = ANY($1::text[]) AND position < $2 ORDER BY position, model LIMIT 1
"""
# In the order in which others take them. Who waits for a lock holds up all who come later: for so long, and no longer.
LOCKS = (
    "SET LOCAL lock_timeout = '100ms'",
    "LOCK TABLE ledger.checkpoint IN SHARE MODE",
    f"SELECT pg_advisory_xact_lock({Lock.APPEND:d})",
    "LOCK TABLE ONLY ledger.event IN ACCESS EXCLUSIVE MODE",
    "SET LOCAL lock_timeout = '10ms'",
    "LOCK TABLE ONLY ledger.batch IN ACCESS EXCLUSIVE MODE",
)
DETACH = "SELECT ledger.detach($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"


class ArchiveError(Exception):
    """It cannot be done; the message is one line. With ``code`` 2 nothing has changed."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


async def ready(connection: asyncpg.Connection, position: int) -> None:
    """Raise ArchiveError as long as somebody has not done with what is to be archived."""
    if await connection.fetchval(STALE):
        raise ArchiveError("a redaction has not come to its end: run `ringledger redact` again first")
    behind = await connection.fetchrow(BEHIND, [model.name for model in ALL], position)
    if behind is not None:
        what = f"read model {behind['model']}" + (", which is being rebuilt," if behind["place"] == "rebuild" else "")
        why = f" ({behind['error']})" if behind["error"] else ""
        raise ArchiveError(f"{what} has folded {behind['position']} of {position} positions to archive{why}")


async def detach(connection: asyncpg.Connection, written: Sequence[Written], latest: datetime) -> None:
    """Take the months out, as soon as nobody reads the log for longer than a moment; ``latest`` is their last time.

    Raises ArchiveError; nothing has changed.
    """
    for _ in range(TRIES):
        try:
            async with connection.transaction():
                for lock in LOCKS:
                    await connection.execute(lock)
                await ready(connection, written[-1].month.last)
                for one in written:
                    await _detach_one(connection, one, latest)
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return
    raise ArchiveError(f"somebody has read the log for {TRIES} seconds (a backup?): run it again later", 1)


async def _detach_one(connection: asyncpg.Connection, one: Written, latest: datetime) -> None:
    month, file = one.month, one.file
    counts = [(c.pbx, c.source, c.name, c.count) for c in one.manifest.counts]
    links = month.first, month.last, month.previous, month.hash
    told = str(file), file.name, bytes.fromhex(one.manifest.sha256), counts
    await connection.execute(DETACH, month.month, *links, latest, *told)
