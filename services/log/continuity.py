"""The end of the log as a process has read it, and whether the log still has it.

PostgreSQL may come back with older data: a restored backup, or a replica that was behind. Positions are then given
again to other events, so a process that keeps one also compares the hash of the batch that ended there.
"""

import asyncpg
from msgspec import Struct

END = "SELECT position, hash, ledger.continues($1, $2) FROM ledger.head"


class RewoundError(Exception):
    """The log has lost its newest events since it was read; positions after that are other events, or none."""


class LogEnd(Struct, frozen=True):
    """The head of the log at one moment: its last position, and the hash of the batch that ended there."""

    position: int = 0
    hash: bytes = b""


BEGINNING = LogEnd()


async def follow_end(connection: asyncpg.Connection, known: LogEnd) -> LogEnd:
    """Return the end of the log now. Raises RewoundError if the log does not continue ``known``."""
    position, hash_, continues = await connection.fetchrow(END, known.position, known.hash)
    if not continues:
        raise RewoundError(
            f"the log had position {known.position} and ends at {position} now, or has another event there"
        )
    return LogEnd(position, hash_)
