"""The log as one commander's term uses it: over the one connection that holds the commander's lock."""

import asyncio
from typing import Any

import asyncpg

from schemas.log import RingledgerEvent
from services.log.append import append_events
from services.log.continuity import EMPTY_LOG, follow_end
from services.log.writer import WriterRun, own_event


class TermLog:
    """One term's connection, for one task at a time; another term has another writer, so no ordinal is used twice."""

    def __init__(self, connection: asyncpg.Connection, pbx: str) -> None:
        self._connection = connection
        self._pbx = pbx
        self._run = WriterRun()
        self._turn = asyncio.Lock()
        self._end = EMPTY_LOG

    async def check_continuity(self) -> None:
        """Raise RewoundError if the log no longer has the end that was last read here."""
        async with self._turn:
            self._end = await follow_end(self._connection, self._end)

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        """Return the rows of a query."""
        async with self._turn:
            rows: list[asyncpg.Record] = await self._connection.fetch(sql, *args)
            return rows

    async def append(self, event: RingledgerEvent) -> None:
        """Append one event; it is durable on return."""
        received = own_event(event)
        async with self._turn:
            with self._run.ordinals(1) as (number, first):
                await append_events(self._connection, self._pbx, number, first, [received])
