"""The end of the log as a process last read it, and whether the log still continues it.

PostgreSQL may come back with older data: a restored backup, or a replica that was behind. Then it assigns positions
again to other events, so a process that remembers a position also compares the hash of the batch that ended there.
"""

import asyncpg
from msgspec import Struct

LOG_END = "SELECT position, hash, ledger.continues($1, $2) FROM ledger.head"


class RewoundError(Exception):
    """The log has lost events since it was read; the positions after the loss belong to other events, or to none."""


class LogEnd(Struct, frozen=True):
    """The head of the log at one moment: its last position, and the hash of the batch that ended there."""

    position: int = 0
    hash: bytes = b""


EMPTY_LOG = LogEnd()


async def follow_end(connection: asyncpg.Connection, previous: LogEnd) -> LogEnd:
    """Return the current end of the log. Raises RewoundError if the log does not continue ``previous``."""
    position, hash_, continues = await connection.fetchrow(LOG_END, previous.position, previous.hash)
    if not continues:
        raise RewoundError(
            f"the log had position {previous.position}; now it ends at position {position}, or has another event there"
        )
    return LogEnd(position, hash_)
