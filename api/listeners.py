"""What listeners say of themselves: from PostgreSQL, or when that does not answer from the file of this machine."""

import asyncio
import time
from pathlib import Path

import asyncpg
import msgspec
import structlog
from msgspec import Struct, field

from services import database

ANSWER_SECONDS = 1.0

SQL = """
SELECT pbx, kind, holder <> 0 AS holding, extract(epoch FROM clock_timestamp() - renewed)::float8 AS age, status
FROM ledger.listener
ORDER BY pbx, kind
"""

logger = structlog.get_logger()


class Waiting(Struct, frozen=True):
    """What waits on a listener's disk; ``limit`` is the number of bytes from which on it reads no more."""

    events: int = 0
    bytes: int = 0
    limit: int = 0
    error: str = ""


class Listening(Struct, frozen=True):
    """One listener: it is ``holding`` the lease of a PBX and kind (ami, ari), or it stands by.

    ``waiting`` is how many events it has in memory, and ``age`` how many seconds ago it said all this.
    """

    pbx: str
    kind: str
    holding: bool = False
    link: str = "down"
    waiting: int = 0
    spool: Waiting = field(default_factory=Waiting)
    age: float = 0.0


class Board(Struct, frozen=True):
    """The file: what was so at ``at``, seconds since the epoch."""

    at: float
    listeners: list[Listening]


class Listeners(Struct, frozen=True):
    """What is known, and whether ``database`` or ``file`` told it."""

    told_by: str
    listeners: list[Listening]


async def listeners(pool: asyncpg.Pool, data: Path, *, away: bool) -> Listeners:
    """Ask PostgreSQL, unless it is known to be ``away``; and the file if it does not answer within a second."""
    if not away:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return Listeners("database", [_said(row) for row in await pool.fetch(SQL)])
        except database.UNREACHABLE as error:
            logger.warning("database_unreachable", asked="listeners", error=repr(error))
    return Listeners("file", posted(data / "listeners.json"))


def _said(row: asyncpg.Record) -> Listening:
    return msgspec.convert({**row["status"], **{k: v for k, v in row.items() if k != "status"}}, Listening)


def posted(file: Path) -> list[Listening]:
    """Return what the listeners of this machine wrote last; nothing where none ever ran."""
    try:
        board = msgspec.json.decode(file.read_bytes(), type=Board)
    except FileNotFoundError:
        return []
    age = max(0.0, time.time() - board.at)
    return [msgspec.structs.replace(one, age=age) for one in board.listeners]
