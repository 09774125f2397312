"""All advisory locks of Ringledger, and the ways to take one.

The schema (services/database/migrations) holds the same numbers as literals; a test compares them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from enum import IntEnum, unique

import asyncpg

from services.database.errors import UNREACHABLE
from services.runtime.tasks import wait_event

STAND_BY_SECONDS = 1.0

LOCK = "SELECT pg_advisory_lock($1)"
UNLOCK = "SELECT pg_advisory_unlock($1)"
TRY_LOCK = "SELECT pg_try_advisory_lock($1)"
TRY_LOCK_OF = "SELECT pg_try_advisory_lock($1, hashtext($2))"


@unique
class Lock(IntEnum):
    """Advisory locks. A number never changes its purpose, because processes of two versions may run side by side."""

    APPEND = 7310001
    """Held for one transaction by every append to the log."""
    SCHEMA = 7310002
    PROJECTOR = 7310003
    FIRST_USER = 7310005
    RETENTION = 7310006
    """Held by ``redact`` and ``archive`` while they run, for minutes."""
    COMMANDER = 7310007
    """One for each PBX: the hash of its name is the second key. Locks of two keys and of one never collide."""
    DECISION = 7310008
    """Held for one decision of the API, some tens of milliseconds. Older versions took 7310006 for it."""
    IMPORT = 7310009
    """One for each PBX, as of COMMANDER: held by ``import`` of Asterisk's own files."""


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
            # PostgreSQL releases the lock when the session ends, and keeps what was committed under it. A lost
            # connection may be out of its pool by now, and then refuses even this call.
            with contextlib.suppress(asyncpg.InterfaceError):
                connection.terminate()


async def try_lock(connection: asyncpg.Connection, lock: Lock, name: str | None = None) -> bool:
    """Take a lock of the session if it is free, with ``name`` as its second key; return whether it was."""
    arguments = (lock,) if name is None else (lock, name)
    free: bool = await connection.fetchval(TRY_LOCK if name is None else TRY_LOCK_OF, *arguments)
    return free


async def stand_by(connection: asyncpg.Connection, lock: Lock, stop: asyncio.Event, name: str | None = None) -> bool:
    """Take a lock of the session as soon as it is free; return False if ``stop`` is set first."""
    while not await try_lock(connection, lock, name):
        if await wait_event(stop, STAND_BY_SECONDS):
            return False
    return True
