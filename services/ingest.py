"""From memory to the log: one writer per PBX that appends what was received, in order, and never loses its place."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice

import asyncpg
import msgspec
import structlog

from schemas.log import Received, Rejected
from services import log

BATCH = 4096
BATCH_BYTES = 1 << 23
RETRY_SECONDS = 0.5
APPEND_SECONDS = 60
COMPLAIN_SECONDS = 30
MAX_EVENTS = 150_000
MAX_BYTES = 64 << 20
"""Beyond either, reading stops: a process stays under 200 MB, and four seconds of the heaviest traffic seen fit in."""

REFUSED = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
"""PostgreSQL's answer to what an event contains: it would be the same at every repetition."""

logger = structlog.get_logger()


class Ingest:
    """The way of one PBX's events into the log. `put` never blocks; `run` appends until `stop`, then drains.

    ``writer`` numbers this run among all runs for the PBX; ordinals count its events. ``opening``, if set, is called
    once before the first append; the events that it returns go before all others. ``pressed`` is called with True
    when so much waits that no more should be read, and with False when half of that is gone.
    """

    def __init__(self, database_url: str, pbx: str) -> None:
        self.pbx = pbx
        self.writer = time.time_ns()
        self.appended = 0
        self.waiting_bytes = 0
        self.opening: Callable[[asyncpg.Connection], Awaitable[list[Received]]] | None = None
        self.pressed: Callable[[bool], None] = lambda _full: None
        self.room = asyncio.Event()
        self.room.set()
        self._url = database_url
        self._queue: deque[Received] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._size = BATCH
        self._log = logger.bind(pbx=pbx)
        self._unreachable_since = 0.0
        self._complained = 0.0

    def put(self, event: Received) -> None:
        """Take one event; its place in the log is after all that were put before."""
        self._queue.append(event)
        self.waiting_bytes += len(event.raw)
        if not self._wake.is_set():
            self._wake.set()
        if (self.waiting_bytes > MAX_BYTES or len(self._queue) > MAX_EVENTS) and self.room.is_set():
            self.room.clear()
            self.pressed(True)  # noqa: FBT003

    @property
    def waiting(self) -> int:
        """Events that are not in the log yet."""
        return len(self._queue)

    def stop(self) -> None:
        """Let `run` return once everything is in the log."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Append until stopped; wait for PostgreSQL as long as it takes."""
        connection: asyncpg.Connection | None = None
        try:
            while self._queue or not self._stopping:
                if not self._queue:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                try:
                    if connection is None:
                        connection = await asyncpg.connect(self._url, timeout=10)
                    await self._open(connection)
                    await self._advance(connection)
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                    # Whatever it says, shutting down, starting up, full disk, no such table, it may say something
                    # else later; only what is wrong with an event (see REFUSED) would never change.
                    self._complain(error)
                    if connection is not None:
                        connection.terminate()
                        connection = None
                    await asyncio.sleep(RETRY_SECONDS)
            if connection is not None:
                await connection.close()
                connection = None
        finally:
            if connection is not None:
                connection.terminate()

    async def _open(self, connection: asyncpg.Connection) -> None:
        if self.opening is not None:
            events = await self.opening(connection)
            self.opening = None
            self._queue.extendleft(reversed(events))
            self.waiting_bytes += sum(len(e.raw) for e in events)

    async def _advance(self, connection: asyncpg.Connection) -> None:
        batch = list(islice(self._queue, self._size))
        size = sum([len(e.raw) for e in batch])
        while size > BATCH_BYTES and len(batch) > 1:
            del batch[(len(batch) + 1) // 2 :]
            size = sum([len(e.raw) for e in batch])
        try:
            async with asyncio.timeout(APPEND_SECONDS):
                await log.append(connection, self.pbx, self.writer, self.appended + 1, batch)
        except REFUSED as error:
            self._refused(batch, error)
            return
        self.appended += len(batch)
        for _ in batch:
            self._queue.popleft()
        self.waiting_bytes -= size
        self._size = min(BATCH, self._size * 2)
        if self._unreachable_since:
            self._log.warning("log_reachable", after=round(time.monotonic() - self._unreachable_since, 1))
            self._unreachable_since = self._complained = 0.0
        if not self.room.is_set() and self.waiting_bytes < MAX_BYTES // 2 and self.waiting < MAX_EVENTS // 2:
            self.room.set()
            self.pressed(False)  # noqa: FBT003

    def _refused(self, batch: list[Received], error: Exception) -> None:
        if self.appended and "events are missing" in str(error):
            # ledger.append has forgotten what it once acknowledged: the database went back in time.
            self._log.error("log_went_back", error=str(error), appended=self.appended)
            self.writer, self.appended = time.time_ns(), 0
            return
        self._size = max(1, len(batch) // 2)
        if len(batch) > 1:
            return  # half of it then: what is good goes in, until the refused one stands alone
        event = batch[0]
        if event.name == "Rejected":
            raise error  # not the content then
        self._log.error("event_refused", name=event.name, bytes=len(event.raw), error=str(error))
        rejected = Rejected(event.source, _text(event.name), _text(str(error)), event.raw)
        self._queue[0] = Received("ringledger", "Rejected", None, event.recorded, msgspec.json.encode(rejected))
        self.waiting_bytes += len(self._queue[0].raw) - len(event.raw)

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        self._unreachable_since = self._unreachable_since or now
        if now - self._complained >= COMPLAIN_SECONDS or not self._complained:
            self._complained = now
            self._log.warning("log_unreachable", waiting=self.waiting, bytes=self.waiting_bytes, error=repr(error))


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
