"""Detects a PostgreSQL that has fallen silent (frozen, unplugged), and ends all waits for it.

A statement may legitimately take minutes, so statements have no time limit. The heartbeat queries PostgreSQL every
second on its own connection. After three seconds without an answer it cuts all watched connections, because asyncpg
cannot cancel a statement on a server that does not answer. A server that refuses connections is not silent.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar
from weakref import WeakSet

import asyncpg
import structlog

from services.database.connection import connect
from services.database.errors import DATABASE_ERRORS
from services.runtime.outage import Outage

BEAT_SECONDS = 1.0
TICK_SECONDS = 0.25
SILENT_TICKS = 12
"""Ticks of the event loop without an answer. A busy event loop has fewer ticks, so its own delay does not count."""

T = TypeVar("T")

logger = structlog.get_logger()


class SilentError(ConnectionError):
    """PostgreSQL accepts bytes but sends no answer."""

    def __init__(self) -> None:
        super().__init__("no answer to SELECT 1")


class Heartbeat:
    """The state of PostgreSQL, updated by `run`; ``outage`` logs the failures of the whole process."""

    def __init__(self, url: str) -> None:
        self.silent = False
        self.outage = Outage("database_unreachable", "database_reachable")
        self._url = url
        self._connections: WeakSet[asyncpg.Connection] = WeakSet()
        self._limits: set[asyncio.Timeout] = set()

    def watch(self, connection: asyncpg.Connection) -> None:
        """Cut this connection as soon as PostgreSQL falls silent."""
        self._connections.add(connection)

    @contextlib.asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        """Limit the time of the body. Raises TimeoutError, and SilentError as soon as PostgreSQL is silent."""
        if self.silent:
            raise SilentError
        try:
            async with asyncio.timeout(seconds) as timeout:
                self._limits.add(timeout)
                try:
                    yield
                finally:
                    self._limits.discard(timeout)
        except TimeoutError:
            if self.silent:
                raise SilentError from None
            raise

    async def run(self) -> None:
        """Query PostgreSQL until cancelled."""
        while True:
            try:
                connection = await self._await(connect(self._url, application_name="ringledger heartbeat"))
                try:
                    while True:
                        await self._await(connection.fetchval("SELECT 1"), connection)
                        await asyncio.sleep(BEAT_SECONDS)
                finally:
                    connection.terminate()
            except SilentError:
                continue
            except DATABASE_ERRORS:
                await asyncio.sleep(BEAT_SECONDS)

    async def _await(self, answer: Awaitable[T], connection: asyncpg.Connection | None = None) -> T:
        answering = asyncio.ensure_future(answer)
        try:
            for _ in range(SILENT_TICKS):
                done, _pending = await asyncio.wait([answering], timeout=TICK_SECONDS)
                if done:
                    self._end_silence()
                    return answering.result()
        finally:
            if not answering.done():
                if connection is not None:
                    connection.terminate()
                answering.cancel()
                answering.add_done_callback(_forget)
        self._begin_silence()
        raise SilentError

    def _end_silence(self) -> None:
        if self.silent:
            self.silent = False
            logger.warning("postgresql_answers")

    def _begin_silence(self) -> None:
        if not self.silent:
            self.silent = True
            logger.error("postgresql_silent", seconds=SILENT_TICKS * TICK_SECONDS)
        for connection in list(self._connections):
            connection.terminate()
        now = asyncio.get_running_loop().time()
        for timeout in self._limits:
            if not timeout.expired():
                timeout.reschedule(now)


def _forget(answering: asyncio.Future[Any]) -> None:
    """Retrieve the error of an abandoned answer, so that asyncio does not log it."""
    if not answering.cancelled():
        answering.exception()
