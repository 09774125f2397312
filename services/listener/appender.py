"""Appends batches of a backlog, and prepares the next batch while PostgreSQL works."""

import asyncio

import asyncpg

from schemas.log import NewEvent
from services.listener.backlog.backlog import Backlog
from services.listener.backlog.batch import BATCH_EVENTS, PendingBatch
from services.listener.link_order import LinkOrder
from services.log.append import Columns, Seals, append_columns, seal, to_columns

APPEND_TIMEOUT_SECONDS = 60
SEAL_EVENTS = 512
"""How many events are sealed before other tasks run."""


class Appender:
    """Appends the batches of one PBX; those in which a link begins or ends go through `LinkOrder`."""

    def __init__(self, pbx: str, backlog: Backlog, links: LinkOrder) -> None:
        self._pbx = pbx
        self._backlog = backlog
        self._links = links
        self._prepared: tuple[list[NewEvent], Columns] = [], ()

    async def append(self, connection: asyncpg.Connection, batch: PendingBatch) -> None:
        """Append one batch. Raises what `append_columns` and `seal` raise, and TimeoutError."""
        if self._links.concerns(batch.writer, batch.events):
            async with asyncio.timeout(APPEND_TIMEOUT_SECONDS):
                await self._links.append(connection, batch.writer, batch.first, batch.events)
            return
        events, columns = self._prepared
        if events != batch.events:
            columns = to_columns(batch.events, seal(batch.events))
        key = (self._pbx, batch.writer, batch.first)
        appending = asyncio.create_task(append_columns(connection, key, columns))
        try:
            async with asyncio.timeout(APPEND_TIMEOUT_SECONDS):
                await asyncio.sleep(0)
                size = len(batch.events)
                await self._prepare(self._backlog.memory.slice(size, size + BATCH_EVENTS))
                await appending
        finally:
            appending.cancel()

    async def _prepare(self, events: list[NewEvent]) -> None:
        """Seal the next batch, if it will be a full one, in the time that PostgreSQL needs for this one."""
        self._prepared = [], ()
        if len(events) < BATCH_EVENTS:
            return
        occurred, recorded, leaves, salts = list[int | None](), list[int](), list[bytes](), list[bytes]()
        for start in range(0, BATCH_EVENTS, SEAL_EVENTS):
            try:
                part = seal(events[start : start + SEAL_EVENTS])
            except (ValueError, OverflowError):
                return  # one of them will be refused when it is appended
            occurred.extend(part.occurred)
            recorded.extend(part.recorded)
            leaves.extend(part.leaves)
            salts.append(part.salts)
            await asyncio.sleep(0)  # so that bytes for PostgreSQL are sent
        self._prepared = events, to_columns(events, Seals(occurred, recorded, leaves, b"".join(salts)))
