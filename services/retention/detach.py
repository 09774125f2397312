"""Removes months from the log in one transaction, which neither waits for readers nor blocks them for long."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import asyncpg

from projections import ALL
from services.database.locks import Lock
from services.log.archives import detach_month
from services.retention.archive_files import ArchiveFile

MAX_TRIES = 60
PAUSE_SECONDS = 1.0

STALE = """
SELECT EXISTS (SELECT FROM ledger.checkpoint c
               WHERE c.version = 0 OR EXISTS (SELECT FROM ledger.stale s WHERE s.model = c.model))
"""
# A model before the new start of the log could not continue.
BEHIND = """
SELECT model, place, position, error FROM ledger.checkpoint
WHERE model = ANY($1::text[]) AND position < $2 ORDER BY position, model LIMIT 1
"""
# In the same order as elsewhere. A transaction that waits for such a lock blocks all later ones, hence the timeouts.
LOCKS = (
    "SET LOCAL lock_timeout = '100ms'",
    "LOCK TABLE ledger.checkpoint IN SHARE MODE",
    f"SELECT pg_advisory_xact_lock({Lock.APPEND:d})",
    "LOCK TABLE ONLY ledger.event IN ACCESS EXCLUSIVE MODE",
    "SET LOCAL lock_timeout = '10ms'",
    "LOCK TABLE ONLY ledger.batch IN ACCESS EXCLUSIVE MODE",
)


class ArchiveError(Exception):
    """The archive failed; the message is one line. With ``code`` 2 nothing was changed."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


async def check_ready(connection: asyncpg.Connection, position: int) -> None:
    """Raise ArchiveError if a redaction is unfinished, or a model has not folded the log until ``position``."""
    if await connection.fetchval(STALE):
        raise ArchiveError("a redaction is unfinished; run `ringledger redact` again first")
    behind = await connection.fetchrow(BEHIND, [model.name for model in ALL], position)
    if behind is not None:
        rebuild = ", which is being rebuilt," if behind["place"] == "rebuild" else ""
        reason = f" ({behind['error']})" if behind["error"] else ""
        raise ArchiveError(
            f"read model {behind['model']}{rebuild} has folded {behind['position']} of {position} positions"
            f" to archive{reason}"
        )


async def detach(connection: asyncpg.Connection, files: Sequence[ArchiveFile], latest: datetime) -> None:
    """Remove the months from the log as soon as the locks are free; ``latest`` is their greatest time of recording.

    Raises ArchiveError after `MAX_TRIES` attempts; then nothing was changed.
    """
    for _ in range(MAX_TRIES):
        try:
            async with connection.transaction():
                for lock in LOCKS:
                    await connection.execute(lock)
                await check_ready(connection, files[-1].month.last)
                for one in files:
                    month = one.month
                    links = month.first, month.last, month.previous, month.hash
                    await detach_month(connection, month.month, links, latest, (one.path, one.manifest))
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return
    raise ArchiveError(f"another session has read the log for {MAX_TRIES} seconds (a backup?); try again later", 1)
