"""From memory to the log: one writer per PBX that appends what was received, in order, and never loses its place."""

import asyncio
import time
from collections import deque

import asyncpg
import structlog

from schemas.log import Received
from services import log

BATCH = 4096
RETRY_SECONDS = 0.5

logger = structlog.get_logger()


class Ingest:
    """The way of one PBX's events into the log. `put` never blocks; `run` appends until `stop`, then drains.

    ``writer`` numbers this run among all runs for the PBX; ordinals count its events.
    """

    def __init__(self, database_url: str, pbx: str) -> None:
        self.pbx = pbx
        self.writer = time.time_ns()
        self.appended = 0
        self._url = database_url
        self._queue: deque[Received] = deque()
        self._wake = asyncio.Event()
        self._stopping = False

    def put(self, event: Received) -> None:
        """Take one event; its place in the log is after all that were put before."""
        self._queue.append(event)
        if not self._wake.is_set():
            self._wake.set()

    @property
    def waiting(self) -> int:
        """Events that are not in the log yet."""
        return len(self._queue)

    def stop(self) -> None:
        """Let `run` return once everything is in the log."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Append until stopped; wait for PostgreSQL as long as it takes."""
        connection: asyncpg.Connection | None = None
        while self._queue or not self._stopping:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = [self._queue[i] for i in range(min(BATCH, len(self._queue)))]
            try:
                if connection is None:
                    connection = await asyncpg.connect(self._url)
                await log.append(connection, self.pbx, self.writer, self.appended + 1, batch)
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, TimeoutError) as error:
                logger.warning("log_unreachable", pbx=self.pbx, waiting=self.waiting, error=repr(error))
                if connection is not None:
                    connection.terminate()
                    connection = None
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.appended += len(batch)
            for _ in batch:
                self._queue.popleft()
        if connection is not None:
            await connection.close()
