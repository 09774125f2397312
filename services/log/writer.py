"""Writes Ringledger's own events: facts that the API decides, requests and outcomes of acts, states of links."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import asyncpg
import msgspec
import structlog

from schemas.log import NewEvent, RingledgerEvent
from services.database.errors import CONNECTION_LOST
from services.database.pool import Pool
from services.log.append import append_events, is_missing_ordinals

MAX_ATTEMPTS = 3
APPEND_SECONDS = 4.0

logger = structlog.get_logger()


def own_event(event: RingledgerEvent, at: float | None = None) -> NewEvent:
    """Return an own event as the log stores it; ``at`` is its time in seconds since the epoch, by default now."""
    at = time.time() if at is None else at
    return NewEvent("ringledger", type(event).__name__, at, at, msgspec.json.encode(event))


class UnknownAppendError(ConnectionError):
    """The connection was lost before the answer: either all of the events are in the log, or none."""


class WriterRun:
    """The number of a writer's run, and its next ordinal, for one PBX."""

    def __init__(self) -> None:
        self._number = time.time_ns()
        self._next = 1

    @contextlib.contextmanager
    def ordinals(self, count: int) -> Iterator[tuple[int, int]]:
        """Give the run's number and the first of ``count`` ordinals to a body that appends.

        If the body raises, another run begins: its ordinals may be in the log, and other events with the same ordinals
        would count as appended.
        """
        number, first = self._number, self._next
        self._number, self._next = time.time_ns(), 1
        yield number, first
        self._number, self._next = number, first + count


class EventWriter:
    """The writer of one API process. Events of one call are appended together or not at all."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self._runs: dict[str, WriterRun] = {}

    async def append(
        self, *events: RingledgerEvent, pbx: str = "", connection: asyncpg.Connection | None = None
    ) -> int:
        """Append events and return the position of the last one, within `APPEND_SECONDS`.

        ``pbx`` is empty for events that concern no PBX, which are most. A ``connection`` that holds the decision lock
        is the only one used: once it is lost, another process may have decided.

        Raises UnknownAppendError, or one of UNREACHABLE if PostgreSQL refused and nothing was appended.
        """
        now = time.time()
        received = [own_event(event, now) for event in events]
        async with self._turn():
            run = self._runs.setdefault(pbx, WriterRun())
            try:
                async with asyncio.timeout(APPEND_SECONDS):
                    try:
                        return await self._append(connection, pbx, run, received)
                    except asyncpg.DataError as error:
                        if not is_missing_ordinals(error):
                            raise
                        # The log came back with older data, which has none of these events. The next run appends them.
                        logger.error("log_went_back", pbx=pbx, error=str(error))  # noqa: TRY400 (no traceback needed)
                        return await self._append(connection, pbx, run, received)
            except TimeoutError as error:
                raise UnknownAppendError("no answer in time") from error

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with asyncio.timeout(APPEND_SECONDS):
            await self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    async def _append(
        self, connection: asyncpg.Connection | None, pbx: str, run: WriterRun, events: list[NewEvent]
    ) -> int:
        sent = False
        attempt = 1
        with run.ordinals(len(events)) as (number, first):
            while True:
                try:
                    async with (
                        self._pool.acquire() if connection is None else contextlib.nullcontext(connection) as used
                    ):
                        sent = True
                        return await append_events(used, pbx, number, first, events)
                except CONNECTION_LOST as error:
                    if attempt == MAX_ATTEMPTS or connection is not None:
                        if sent:
                            raise UnknownAppendError(repr(error)) from error
                        raise
                    logger.warning("append_repeated", attempt=attempt, error=repr(error))
                    attempt += 1
