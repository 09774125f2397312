"""One connection for several tasks."""

import asyncio
from typing import Any

import asyncpg


class OneAtATime:
    """A connection's queries, one after the other: asyncpg refuses a second one while the first is under way.

    Each raises what the connection's own raises.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    async def execute(self, query: str, *args: Any) -> str:
        """As the connection's."""
        async with self._turn:
            status: str = await self._connection.execute(query, *args)
            return status

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """As the connection's."""
        async with self._turn:
            rows: list[asyncpg.Record] = await self._connection.fetch(query, *args)
            return rows

    async def fetchval(self, query: str, *args: Any) -> Any:
        """As the connection's."""
        async with self._turn:
            return await self._connection.fetchval(query, *args)
