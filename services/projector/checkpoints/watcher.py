"""Reads the checkpoints whenever they change, over one connection: NOTIFY wakes, polling guarantees."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from services.database import pool
from services.database.connection import connect
from services.database.errors import DATABASE_ERRORS
from services.database.heartbeat import Heartbeat
from services.database.notify import NotifyChannel
from services.projector.checkpoints.checkpoints import CheckpointReading, in_timeline, read
from services.projector.checkpoints.waits import CheckpointWaits
from services.runtime.clock import CLOCK, Clock
from services.runtime.tasks import wait_event

POLL_SECONDS = 1.0
PAUSE_SECONDS = 0.02
"""Limits a process to fifty readings per second, however fast the projector commits."""
RETRY_SECONDS = 0.5

Follow = Callable[[asyncpg.Connection, CheckpointReading], Awaitable[None]]


class CheckpointWatcher(CheckpointWaits):
    """The checkpoints of one database, kept up to date by `run`.

    Each of ``follow`` is called with every reading of `run` before the reading counts as folded or refreshed. A log
    that does not continue the one read before begins a new timeline.
    """

    def __init__(
        self, url: str, follow: Sequence[Follow] = (), heartbeat: Heartbeat | None = None, clock: Clock = CLOCK
    ) -> None:
        super().__init__(clock)
        self.heartbeat = heartbeat or Heartbeat(url)
        self._url = url
        self._follow = follow

    async def run(self) -> None:
        """Read until cancelled, and reconnect whenever PostgreSQL is back."""
        while True:
            try:
                await self._watch()
            except DATABASE_ERRORS as error:
                self.heartbeat.outage.fail(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self) -> None:
        connection = await connect(self._url, search_path="model, ledger", lock_timeout=pool.LOCK_TIMEOUT)
        self.heartbeat.watch(connection)
        try:
            await connection.add_listener(NotifyChannel.LOG, self._on_append)
            await connection.add_listener(NotifyChannel.MODELS, lambda *_: self._wake.set())
            while True:
                self._wake.clear()
                reading = await self.read(connection)
                for follow in self._follow:
                    await follow(connection, reading)
                self._process(reading)
                self.heartbeat.outage.recover()
                await asyncio.sleep(PAUSE_SECONDS)
                await wait_event(self._wake, POLL_SECONDS)
        finally:
            connection.terminate()

    async def read(self, connection: asyncpg.Connection) -> CheckpointReading:
        """Read the checkpoints, in the timeline of the newest reading or in the next one."""
        previous = self.newest
        return await in_timeline(connection, await read(connection), previous)

    def _on_append(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        self._extend(int(payload))
