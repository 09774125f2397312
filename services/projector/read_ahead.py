"""Reads the log for a projector, and the next batch while one is folded and written."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from services.log.read import read_events
from services.projector.ended_rows import Fetch

STARTED = "SELECT pg_postmaster_start_time()"


class ReadAhead:
    """Reads events over the projector's connection, or ahead over ``reader``.

    Then PostgreSQL reads while the projector folds, and rows arrive while PostgreSQL writes. That is a quarter of a
    rebuild's time. Rows that were read ahead are folded like any others: only a redaction changes an event. It marks
    all models that handle the event, and ends the projector's session. Then it rebuilds these models from the log.
    """

    def __init__(self, connection: asyncpg.Connection, reader: asyncpg.Connection | None = None) -> None:
        self._connection = connection
        self._reader = reader
        self._task: asyncio.Task[list[asyncpg.Record]] | None = None
        self._request: tuple[int, int, Sequence[str]] = (0, 0, ())

    async def open(self) -> None:
        """Read ahead only if ``reader`` is connected to the same running server; after a failover it may not be."""
        if self._reader is not None and (
            await self._reader.fetchval(STARTED) != await self._connection.fetchval(STARTED)
        ):
            self._reader = None

    async def read(self, after: int, until: int, names: Sequence[str]) -> list[asyncpg.Record]:
        """Return what `read_events` returns."""
        task, self._task = self._task, None
        if task is not None:
            rows = await task
            # Without rows the log ended there a moment ago: only another read shows whether it still does.
            if rows and self._request == (after, until, names):
                return rows
        return await read_events(self._connection, after, until, names)

    def start(self, after: int, until: int, names: Sequence[str]) -> None:
        """Begin to read what the next `read` will probably ask for."""
        if self._reader is not None and self._task is None and after < until:
            self._request = after, until, names
            self._task = asyncio.create_task(read_events(self._reader, after, until, names))

    @property
    def fetch_beside(self) -> Fetch | None:
        """The function that reads rows beside the projector's connection; None without ``reader``."""
        return None if self._reader is None else self._fetch

    async def _fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        await self.reading()
        assert self._reader is not None
        rows: list[asyncpg.Record] = await self._reader.fetch(query, *arguments)
        return rows

    async def reading(self) -> None:
        """Wait until the reading that is under way has ended."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """End the reading that is under way; its result and its error are of no use any more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
