"""Connections of the API to PostgreSQL: taking one has a time limit, and so has waiting for a lock."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Self

import asyncpg

from services.database import connection as database
from services.database.faults import UNREACHABLE
from services.database.heartbeat import Heartbeat
from services.runtime.outage import Outage

ACQUIRE_SECONDS = 2.5
"""Together with `LOCK_TIMEOUT` this leaves a request an answer within five seconds."""
LOCK_TIMEOUT = "2s"
RELEASE_SECONDS = 2.0


class Pool:
    """A pool of asyncpg's whose waits are limited; a statement on a PostgreSQL that answers may take its time."""

    def __init__(self, pool: asyncpg.Pool, heartbeat: Heartbeat) -> None:
        self._pool = pool
        self._heartbeat = heartbeat

    @property
    def outage(self) -> Outage:
        """The outage that failures of this process are logged in."""
        return self._heartbeat.outage

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection. Raises one of UNREACHABLE: TimeoutError when none is free in time."""
        async with self._heartbeat.limit(ACQUIRE_SECONDS):
            connection = await self._pool.acquire()
        try:
            yield connection
        finally:
            # What was done with it is done: a connection that cannot be reset is closed, and that is all.
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
        """Return the first row of a query, None if there is none."""
        async with self.acquire() as connection:
            return await connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """Return the first value of a query's first row."""
        async with self.acquire() as connection:
            return await connection.fetchval(sql, *args)

    async def close(self) -> None:
        """Close all connections, in order where PostgreSQL answers."""
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
    """Make a pool of up to ``size`` connections, which are opened when they are needed."""
    pool = await database.create_pool(url, size=size, watch=heartbeat.watch, lock_timeout=LOCK_TIMEOUT, **settings)
    return Pool(pool, heartbeat)
