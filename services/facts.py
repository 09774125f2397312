"""Appends events of our own that are not about one PBX: users, tokens, and what else people decide through the API."""

import asyncio
import time

import asyncpg
import msgspec
import structlog

from schemas.log import Ours, Received
from services import database, log

ATTEMPTS = 3
APPEND_SECONDS = 10.0

logger = structlog.get_logger()


class Facts:
    """One process's writer of such events (pbx empty). Facts of one call are appended together or not at all."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self._writer = time.time_ns()
        self._appended = 0

    async def append(self, *facts: Ours) -> int:
        """Append and return the position of the last one. Raises one of database.UNREACHABLE when it may not be so.

        Whether the facts are in the log is then not known; nothing that is appended later depends on it.
        """
        now = time.time()
        events = [Received("ringledger", type(fact).__name__, now, now, msgspec.json.encode(fact)) for fact in facts]
        async with self._lock:
            try:
                position = await self._repeat(events)
            except BaseException:
                # These ordinals may be taken now: under them the next facts would count as appended already.
                self._writer, self._appended = time.time_ns(), 0
                raise
            self._appended += len(events)
            return position

    async def _repeat(self, events: list[Received]) -> int:
        attempt = 1
        while True:
            try:
                async with asyncio.timeout(APPEND_SECONDS), self._pool.acquire() as connection:
                    return await log.append(connection, "", self._writer, self._appended + 1, events)
            except database.UNREACHABLE as error:
                if attempt == ATTEMPTS:
                    raise
                logger.warning("append_repeated", attempt=attempt, error=repr(error))
                attempt += 1
