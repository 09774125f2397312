"""From the backlog to the log: one writer per PBX that appends all received events in order.

While PostgreSQL keeps up, events go from memory to the log. When it is away or too slow, all events go over the disk
until the log has caught up.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import asyncpg
import structlog
from msgspec.structs import replace

from schemas.log import Rejected
from schemas.spool import SpoolState
from services.database.connection import connect
from services.database.errors import DATABASE_ERRORS
from services.listener.appender import Appender
from services.listener.backlog.backlog import RETRY_SECONDS, Backlog
from services.listener.backlog.batch import BATCH_EVENTS, PendingBatch
from services.listener.backlog.spools import Spools
from services.listener.link_order import LOG_REWOUND, LinkOrder
from services.listener.observer import IngestObserver
from services.log.append import is_missing_ordinals
from services.log.writer import own_event
from services.runtime.outage import Outage

SPILL_AFTER_SECONDS = 1.0
"""If an append, or the connection for it, takes longer, the waiting events go to the disk."""
STOP_RETRY_SECONDS = 1.0
"""How long a stopping writer tries to reach PostgreSQL before it leaves the rest on disk."""

REFUSED_ERRORS = (
    ValueError,
    OverflowError,
    asyncpg.DataError,
    asyncpg.CheckViolationError,
    asyncpg.ProgramLimitExceededError,
)
"""The content of an event cannot be stored, so every repetition would fail."""

logger = structlog.get_logger()


class Ingest:
    """The way of one PBX's events into the log. `put` never blocks; `run` appends until `stop`, then drains.

    ``writer`` (`ledger.append`'s connection) identifies this run among all runs for the PBX. With an ``observer``, an
    open link of another run is ended before the first append. ``still_leader`` is awaited before the first append. If
    it returns False, this run's events are dropped, and those of earlier runs stay on disk. ``on_fenced`` is called
    when another listener has taken over, after the events recorded since were dropped.
    """

    def __init__(
        self,
        database_url: str,
        pbx: str,
        spools: Spools,
        kind: str = "ami",
        *,
        writer: int | None = None,
        observer: IngestObserver | None = None,
        still_leader: Callable[[], Awaitable[bool]] | None = None,
        on_fenced: Callable[[], None] = lambda: None,
    ) -> None:
        self.pbx = pbx
        self._observer = observer
        self._must_open = observer is not None
        self._still_leader = still_leader
        self._on_fenced = on_fenced
        on_full_change = (observer or IngestObserver()).on_full_change
        self.backlog = Backlog(pbx, kind, spools, time.time_ns() if writer is None else writer, on_full_change)
        self.put = self.backlog.put
        self._url = database_url
        self._links = LinkOrder(pbx, kind)
        self._appender = Appender(pbx, self.backlog, self._links)
        self._is_stopping = False
        self._is_fenced = False
        self._size = BATCH_EVENTS
        self._unreachable_since = 0.0
        self._log = logger.bind(pbx=pbx, kind=kind)
        self._outage = Outage("log_unreachable", "log_reachable", pbx=pbx, kind=kind)

    @property
    def writer(self) -> int:
        """The number of this run."""
        return self.backlog.writer

    @property
    def last_appended(self) -> int:
        """The last ordinal of this run that is in the log."""
        return self.backlog.last_appended

    @property
    def waiting(self) -> int:
        """How many events are only in memory."""
        return len(self.backlog.memory)

    @property
    def spool_state(self) -> SpoolState:
        """The events on disk."""
        return self.backlog.spool_state

    def stop(self) -> None:
        """Let `run` return once all events are in the log, or on disk if PostgreSQL is away."""
        self._is_stopping = True
        self.backlog.arrived.set()

    async def run(self) -> None:
        """Append until stopped; wait for PostgreSQL for as long as it takes."""
        backlog = self.backlog
        await backlog.disk.open_inherited()
        for writer in backlog.inherited_writers:
            self._links.follow(writer)
        spilling = asyncio.create_task(backlog.spill())
        probing = asyncio.create_task(backlog.disk.probe())
        connection: asyncpg.Connection | None = None
        try:
            while not (self._is_stopping and (backlog.is_empty or self._is_fenced)):
                if spilling.done():
                    await spilling  # raises
                if backlog.is_empty:
                    backlog.arrived.clear()
                    await backlog.arrived.wait()
                    continue
                spill = asyncio.get_running_loop().call_later(SPILL_AFTER_SECONDS, backlog.spill_due.set)
                try:
                    if connection is None:
                        connection = await connect(self._url)
                    await self._advance(connection)
                except DATABASE_ERRORS as error:
                    # Any of these errors may be over later: a restart, a full disk, a missing table. Only errors in an
                    # event's content are permanent (see REFUSED_ERRORS).
                    self._log_outage(error)
                    backlog.spill_due.set()
                    if connection is not None:
                        connection.terminate()
                        connection = None
                    if self._is_stopping and time.monotonic() - self._unreachable_since > STOP_RETRY_SECONDS:
                        break
                    await asyncio.sleep(RETRY_SECONDS)
                finally:
                    spill.cancel()
        finally:
            for task in (spilling, probing):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            if connection is not None:
                connection.terminate()
            if self._is_fenced:
                await backlog.discard_after(self._own_batch(), 0.0)
            await backlog.save()

    async def _advance(self, connection: asyncpg.Connection) -> None:
        """Append the oldest batch."""
        if self._still_leader is not None:
            if not await self._still_leader():
                await self._yield_to_other(self._own_batch(), 0.0)
                self._is_stopping = self._is_fenced = True
                return
            self._still_leader = None
        if self._observer is not None and self._must_open and not self.backlog.disk.inherited:
            await self._observer.before_first_append(connection)
            self._must_open = False
            self._links.follow(self.writer)
        batch = await self.backlog.next_batch(self._size)
        try:
            if batch.events:
                await self._appender.append(connection, batch)
        except asyncpg.LockNotAvailableError as error:
            if not (error.detail or "").isdecimal():
                raise  # a lock_timeout, not a fence
            await self._yield_to_other(batch, int(error.detail) / 1e6)
        except REFUSED_ERRORS as error:
            await self._handle_refusal(batch, error)
        else:
            await self.backlog.appended(batch)
            self._size = min(BATCH_EVENTS, self._size * 2)
            self._outage.recover(quiet_seconds=0.0)
            self._unreachable_since = 0.0

    def _own_batch(self) -> PendingBatch:
        return PendingBatch(None, self.writer, 1, [])

    async def _yield_to_other(self, batch: PendingBatch, when: float) -> None:
        """Drop the events recorded after another listener took over, because it has received them too."""
        is_own = batch.writer == self.writer
        dropped = await self.backlog.discard_after(batch, when)
        self._log.warning("taken_over", by="another listener", events_heard_twice=dropped)
        if is_own:
            self._on_fenced()

    async def _handle_refusal(self, batch: PendingBatch, error: Exception) -> None:
        if is_missing_ordinals(error):
            await self._handle_rewound_log(batch, error)
            return
        self._size = max(1, len(batch.events) // 2)
        if len(batch.events) > 1:
            return  # half of it next: good events are appended until the refused one is alone
        event = batch.events[0]
        if event.name == "Rejected":
            raise error  # then its content is not the cause
        self._log.error("event_refused", name=event.name, bytes=len(event.raw), error=str(error))
        rejected = Rejected(event.source, _encodable(event.name), _encodable(str(error)), event.raw)
        # The time of the refused event may be the reason of the refusal, so the new event has none.
        await self.backlog.replace(batch, replace(own_event(rejected, event.recorded), occurred=None))

    async def _handle_rewound_log(self, batch: PendingBatch, error: Exception) -> None:
        self._log.error("log_went_back", error=str(error), first=batch.first)
        self._links.reason = LOG_REWOUND
        if batch.writer == self.writer and self._observer is not None:
            self._observer.on_log_rewound()
            self._must_open = True
        writer = time.time_ns()
        await self.backlog.renumber(batch, writer)
        self._links.follow(writer)

    def _log_outage(self, error: Exception) -> None:
        self._unreachable_since = self._unreachable_since or time.monotonic()
        state = self.spool_state
        self._outage.fail(error, waiting=self.waiting, spooled=state.events, bytes=state.bytes)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
