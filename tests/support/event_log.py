"""The events in the log of a test database."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import msgspec

from tests.support.polling import TIMEOUT_SECONDS, NotYetError

POLL_SECONDS = 0.5
"""An append wakes the waiting test; this is for rows that something else wrote."""

EVENTS = "SELECT * FROM ledger.event WHERE pbx = $1 AND source LIKE $2 ORDER BY position"
COUNT = "SELECT count(*) FROM ledger.event WHERE source = 'ami' AND name NOT LIKE 'Response:%'"


class EventLog:
    """The events of the log, for a test to wait for."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def rows(self, pbx: str = "pbx", source: str = "%") -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self._url)
        try:
            rows: list[asyncpg.Record] = await connection.fetch(EVENTS, pbx, source)
            return rows
        finally:
            await connection.close()

    async def names(self, pbx: str = "pbx", source: str = "%") -> list[str]:
        return [row["name"] for row in await self.rows(pbx, source)]

    async def ours(self, name: str, pbx: str = "pbx") -> list[dict[str, Any]]:
        return [msgspec.json.decode(r["raw"]) for r in await self.rows(pbx, "ringledger") if r["name"] == name]

    async def until(
        self, condition: Callable[[list[str]], bool], pbx: str = "pbx", seconds: float = TIMEOUT_SECONDS
    ) -> list[str]:
        """Wait until the names of a PBX's events satisfy ``condition``, and return them."""
        end = time.monotonic() + seconds
        async with self._watched() as (connection, appended):
            while not condition(names := [row["name"] for row in await connection.fetch(EVENTS, pbx, "%")]):
                if time.monotonic() > end:
                    raise NotYetError(f"after {seconds} s not in the log; the last events are {names[-30:]}")
                await appended()
        return names

    async def until_count(self, count: int, seconds: float = 2 * TIMEOUT_SECONDS) -> None:
        """Wait until the log has ``count`` events of AMI, without responses."""
        end = time.monotonic() + seconds
        async with self._watched() as (connection, appended):
            while (logged := await connection.fetchval(COUNT)) < count:
                if time.monotonic() > end:
                    raise NotYetError(f"after {seconds} s {logged} of {count} events in the log")
                await appended()

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[tuple[asyncpg.Connection, Callable[[], Awaitable[None]]]]:
        """Yield a connection, and a function that waits for the next append."""
        connection = await asyncpg.connect(self._url)
        notified = asyncio.Event()

        async def appended() -> None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(notified.wait(), POLL_SECONDS)
            notified.clear()

        try:
            await connection.add_listener("ledger", lambda *_: notified.set())
            yield connection, appended
        finally:
            await connection.close()
