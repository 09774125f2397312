"""Appends what people decide through the API: users, tokens and the like, and requests for acts on a PBX."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import structlog

from schemas.log import NewEvent, RingledgerEvent
from services.database.faults import LOST
from services.database.pool import Pool
from services.log import append as log

ATTEMPTS = 3
APPEND_SECONDS = 4.0

logger = structlog.get_logger()


class UnknownAppendError(ConnectionError):
    """The connection was lost before the answer: the facts may be in the log, all of them or none."""


class Facts:
    """One process's writer of such events. Facts of one call are appended together or not at all."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self._writers: dict[str, tuple[int, int]] = {}

    async def append(self, *facts: RingledgerEvent, pbx: str = "", connection: asyncpg.Connection | None = None) -> int:
        """Append and return the position of the last one, within `APPEND_SECONDS`.

        ``pbx`` is the PBX that they are about; most are about none. A ``connection`` that holds the right to decide is
        the only one used: once it is lost, others may have decided since.

        Raises UnknownAppendError, and one of UNREACHABLE when PostgreSQL refused and nothing was appended.
        """
        now = time.time()
        events = [NewEvent("ringledger", type(fact).__name__, now, now, msgspec.json.encode(fact)) for fact in facts]
        async with self._turn():
            # Forgotten until it has worked: these ordinals may be taken, and the next facts would count as appended.
            writer, appended = self._writers.pop(pbx, (time.time_ns(), 0))
            try:
                async with asyncio.timeout(APPEND_SECONDS):
                    try:
                        position = await self._repeat(connection, pbx, writer, appended + 1, events)
                    except asyncpg.DataError as error:
                        if not log.is_missing(error):
                            raise
                        # The log came back with older data, which has none of these facts: another writer appends them.
                        logger.error("log_went_back", pbx=pbx, error=str(error))  # noqa: TRY400 (it says all)
                        writer, appended = time.time_ns(), 0
                        position = await self._repeat(connection, pbx, writer, 1, events)
            except TimeoutError as error:
                raise UnknownAppendError("no answer in time") from error
            self._writers[pbx] = writer, appended + len(events)
            return position

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with asyncio.timeout(APPEND_SECONDS):
            await self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    async def _repeat(
        self, connection: asyncpg.Connection | None, pbx: str, writer: int, first: int, events: list[NewEvent]
    ) -> int:
        sent = False
        attempt = 1
        while True:
            try:
                async with self._pool.acquire() if connection is None else contextlib.nullcontext(connection) as one:
                    sent = True
                    return await log.append(one, pbx, writer, first, events)
            except LOST as error:
                if attempt == ATTEMPTS or connection is not None:
                    if sent:
                        raise UnknownAppendError(repr(error)) from error
                    raise
                logger.warning("append_repeated", attempt=attempt, error=repr(error))
                attempt += 1
