"""Notices a PostgreSQL that has fallen silent (frozen, unplugged), and ends whatever waits for it.

A statement may rightly take minutes, so statements have no time limit. A connection of its own asks every second
whether PostgreSQL still answers. Without an answer for three seconds all watched connections are cut: asyncpg cannot
cancel a statement on a server that does not answer. A server that refuses is not silent.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar
from weakref import WeakSet

import asyncpg
import structlog

from services.database import connection as database
from services.database.faults import ANY
from services.runtime.outage import Outage

BEAT_SECONDS = 1.0
TICK_SECONDS = 0.25
TICKS = 12
"""Ticks of the event loop without an answer. An event loop that was busy itself has not waited for PostgreSQL."""

T = TypeVar("T")

logger = structlog.get_logger()


class SilentError(ConnectionError):
    """PostgreSQL takes bytes and answers nothing."""

    def __init__(self) -> None:
        super().__init__("no answer to SELECT 1")


class Heartbeat:
    """Whether PostgreSQL is ``silent``, kept so by `run`; ``outage`` logs the failures of the whole process."""

    def __init__(self, url: str) -> None:
        self.silent = False
        self.outage = Outage("database_unreachable", "database_reachable")
        self._url = url
        self._connections: WeakSet[asyncpg.Connection] = WeakSet()
        self._limits: set[asyncio.Timeout] = set()

    def watch(self, connection: asyncpg.Connection) -> None:
        """Cut this connection when PostgreSQL falls silent."""
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
        """Keep asking until cancelled."""
        while True:
            try:
                connection = await self._answer(database.connect(self._url, application_name="ringledger heartbeat"))
                try:
                    while True:
                        await self._answer(connection.fetchval("SELECT 1"), connection)
                        await asyncio.sleep(BEAT_SECONDS)
                finally:
                    connection.terminate()
            except SilentError:
                continue
            except ANY:
                await asyncio.sleep(BEAT_SECONDS)

    async def _answer(self, answer: Awaitable[T], connection: asyncpg.Connection | None = None) -> T:
        asking = asyncio.ensure_future(answer)
        try:
            for _ in range(TICKS):
                done, _pending = await asyncio.wait([asking], timeout=TICK_SECONDS)
                if done:
                    self._speak()
                    return asking.result()
        finally:
            if not asking.done():
                if connection is not None:
                    connection.terminate()
                asking.cancel()
                asking.add_done_callback(_forget)
        self._fall_silent()
        raise SilentError

    def _speak(self) -> None:
        if self.silent:
            self.silent = False
            logger.warning("postgresql_answers")

    def _fall_silent(self) -> None:
        if not self.silent:
            self.silent = True
            logger.error("postgresql_silent", seconds=TICKS * TICK_SECONDS)
        for connection in list(self._connections):
            connection.terminate()
        now = asyncio.get_running_loop().time()
        for timeout in self._limits:
            if not timeout.expired():
                timeout.reschedule(now)


def _forget(asking: asyncio.Future[Any]) -> None:
    """Retrieve the error of an answer that nobody waits for, so that asyncio does not log it."""
    if not asking.cancelled():
        asking.exception()
