"""Every advisory lock number and every NOTIFY channel of Ringledger, and the ways to take such a lock.

Migrations (services/database/migrations) hold the same values as literals; a test compares them with these.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from enum import IntEnum, StrEnum, unique

import asyncpg

from services.database.faults import UNREACHABLE

STAND_BY_SECONDS = 1.0

LOCK = "SELECT pg_advisory_lock($1)"
UNLOCK = "SELECT pg_advisory_unlock($1)"
TRY_LOCK = "SELECT pg_try_advisory_lock($1)"
TRY_LOCK_OF = "SELECT pg_try_advisory_lock($1, hashtext($2))"


@unique
class Lock(IntEnum):
    """Advisory locks. A number is never given to another purpose: processes of two versions may run side by side."""

    APPEND = 7310001
    """Held for one transaction by whatever appends to the log."""
    SCHEMA = 7310002
    PROJECTOR = 7310003
    FIRST_USER = 7310005
    RETENTION = 7310006
    """Held by ``redact`` and ``archive`` while they run, for minutes."""
    COMMANDER = 7310007
    """One for each PBX: the hash of its name is the second key. Locks of two keys and of one never collide."""
    DECISION = 7310008
    """Held for one decision of the API, some tens of milliseconds. Older versions took 7310006 for it."""


@unique
class Channel(StrEnum):
    """Channels of LISTEN and NOTIFY."""

    LOG = "ledger"
    """The log has grown; the payload is the position of its end."""
    MODELS = "ringledger_model"
    REBUILD = "ringledger_rebuild"
    ACTS = "ringledger_act"


@contextlib.asynccontextmanager
async def locked(connection: asyncpg.Connection, lock: Lock) -> AsyncIterator[None]:
    """Hold a lock of the session. Raises LockNotAvailableError after the connection's lock_timeout."""
    await connection.execute(LOCK, lock)
    try:
        yield
    finally:
        try:
            await connection.execute(UNLOCK, lock)
        except UNREACHABLE:
            # PostgreSQL gives the lock back when the session ends; what was done under it stays done. A connection
            # that is lost may have left its pool by now, and refuses even this.
            with contextlib.suppress(asyncpg.InterfaceError):
                connection.terminate()


async def try_lock(connection: asyncpg.Connection, lock: Lock, name: str | None = None) -> bool:
    """Take a lock of the session if it is free, that of ``name`` if given; return whether it was."""
    arguments = (lock,) if name is None else (lock, name)
    free: bool = await connection.fetchval(TRY_LOCK if name is None else TRY_LOCK_OF, *arguments)
    return free


async def stand_by(connection: asyncpg.Connection, lock: Lock, stop: asyncio.Event, name: str | None = None) -> bool:
    """Take a lock of the session as soon as it is free; return False if ``stop`` is set first."""
    while not await try_lock(connection, lock, name):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STAND_BY_SECONDS):
                await stop.wait()
        if stop.is_set():
            return False
    return True
