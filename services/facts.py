"""Appends what people decide through the API: users, tokens and the like, and requests for acts on a PBX."""

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
    """One process's writer of such events. Facts of one call are appended together or not at all."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self._writers: dict[str, tuple[int, int]] = {}

    async def append(self, *facts: Ours, pbx: str = "") -> int:
        """Append and return the position of the last one. Raises one of database.UNREACHABLE when it may not be so.

        ``pbx`` is the PBX that they are about; most are about none.
        Whether the facts are in the log is then not known; nothing that is appended later depends on it.
        """
        now = time.time()
        events = [Received("ringledger", type(fact).__name__, now, now, msgspec.json.encode(fact)) for fact in facts]
        async with self._lock:
            # Forgotten until it has worked: these ordinals may be taken, and the next facts would count as appended.
            writer, appended = self._writers.pop(pbx, (time.time_ns(), 0))
            position = await self._repeat(pbx, writer, appended + 1, events)
            self._writers[pbx] = writer, appended + len(events)
            return position

    async def _repeat(self, pbx: str, writer: int, first: int, events: list[Received]) -> int:
        attempt = 1
        while True:
            try:
                async with asyncio.timeout(APPEND_SECONDS), self._pool.acquire() as connection:
                    return await log.append(connection, pbx, writer, first, events)
            except database.UNREACHABLE as error:
                if attempt == ATTEMPTS:
                    raise
                logger.warning("append_repeated", attempt=attempt, error=repr(error))
                attempt += 1
