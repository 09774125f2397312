"""The API's connections to PostgreSQL, with a time limit for a connection and for a lock."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import asyncpg

from services.database.connection import create_pool
from services.database.errors import UNREACHABLE
from services.database.heartbeat import Heartbeat
from services.runtime.outage import Outage

ACQUIRE_SECONDS = 2.5
"""Together with `LOCK_TIMEOUT` this lets a request be answered within five seconds."""
LOCK_TIMEOUT = "2s"
RELEASE_SECONDS = 2.0

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]
"""Runs one SQL statement with its arguments and returns the rows."""


class Pool:
    """An asyncpg pool with limited waits; a statement has no time limit while PostgreSQL answers."""

    def __init__(self, pool: asyncpg.Pool, heartbeat: Heartbeat) -> None:
        self._pool = pool
        self._heartbeat = heartbeat

    @property
    def outage(self) -> Outage:
        """The outage that logs failures of this process."""
        return self._heartbeat.outage

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection. Raises one of UNREACHABLE: TimeoutError if no connection is free in time."""
        async with self._heartbeat.limit(ACQUIRE_SECONDS):
            connection = await self._pool.acquire()
        try:
            yield connection
        finally:
            # The caller's work is done, so a connection that cannot be reset is only closed.
            with contextlib.suppress(*UNREACHABLE):
                await self._pool.release(connection, timeout=RELEASE_SECONDS)

    async def execute(self, sql: str, *args: Any) -> str:
        """Execute a statement on a connection of the pool."""
        async with self.acquire() as connection:
            return str(await connection.execute(sql, *args))

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        """Return the rows of a query."""
        async with self.acquire() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *args)
            return rows

    async def fetchrow(self, sql: str, *args: Any) -> Any:
        """Return the first row of a query, None for an empty result."""
        async with self.acquire() as connection:
            return await connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """Return the first value of a query's first row."""
        async with self.acquire() as connection:
            return await connection.fetchval(sql, *args)

    async def close(self) -> None:
        """Close all connections, gracefully if PostgreSQL answers."""
        try:
            async with self._heartbeat.limit(RELEASE_SECONDS):
                await self._pool.close()
        except UNREACHABLE:
            self._pool.terminate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def open_pool(url: str, heartbeat: Heartbeat, *, size: int, **settings: str) -> Pool:
    """Return a pool of up to ``size`` connections, which it opens on demand."""
    pool = await create_pool(url, size=size, watch=heartbeat.watch, lock_timeout=LOCK_TIMEOUT, **settings)
    return Pool(pool, heartbeat)
