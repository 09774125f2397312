"""From the backlog to the log: one writer per PBX that appends what was received, in order, and never loses its place.

While PostgreSQL keeps up, events go from memory to the log. When it is away or too slow, the disk takes all that is in
memory and all that comes, and the log is fed from there until it has caught up.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from itertools import islice

import asyncpg
import structlog
from msgspec.structs import replace

from schemas.log import NewEvent, Rejected
from schemas.spool import SpoolState
from services.database.errors import DATABASE_ERRORS
from services.listener.backlog import BATCH, RETRY_SECONDS, Backlog, Batch
from services.listener.link_order import WENT_BACK, LinkOrder
from services.listener.spool import Spools
from services.log.append import Columns, Seals, append_columns, is_missing_ordinals, seal, to_columns
from services.log.writer import own_event
from services.runtime.outage import Outage

APPEND_SECONDS = 60
LATE_SECONDS = 1.0
"""When an append, or the connection for it, takes longer than this, what waits goes to the disk."""
PATIENCE_SECONDS = 1.0
"""How long a writer that should end tries to reach PostgreSQL before it leaves the rest on disk."""

REFUSED = (
    ValueError,
    OverflowError,
    asyncpg.DataError,
    asyncpg.CheckViolationError,
    asyncpg.ProgramLimitExceededError,
)
"""What an event contains cannot be written: it would be the same at every repetition."""

logger = structlog.get_logger()


class Ingest:
    """The way of one PBX's events into the log. `put` never blocks; `run` appends until `stop`, then drains.

    The writer (`ledger.append`'s connection) numbers this run among all runs for the PBX. ``opening``, if set, is
    called once before the first append of this run's events; an open link of another run is ended there. ``ours``, if
    set, returns whether the PBX is ours to write about; if not, nothing is appended, this run's events are dropped, and
    what earlier runs left stays on disk.
    ``fenced`` is called when another listener has taken over, and what was recorded later has been dropped;
    ``went_back`` when the log has lost what it had acknowledged, before anything more is appended.
    """

    def __init__(self, database_url: str, pbx: str, spools: Spools, kind: str = "ami") -> None:
        self.pbx = pbx
        self.backlog = Backlog(pbx, kind, spools, time.time_ns())
        self.put = self.backlog.put
        self.opening: Callable[[asyncpg.Connection], Awaitable[None]] | None = None
        self.ours: Callable[[], Awaitable[bool]] | None = None
        self.fenced: Callable[[], None] = lambda: None
        self.went_back: Callable[[], None] = lambda: None
        self._url = database_url
        self._links = LinkOrder(pbx, kind)
        self._stopping = False
        self._is_over = False
        self._size = BATCH
        self._ahead: tuple[list[NewEvent], Columns] = [], ()
        self._unreachable_since = 0.0
        self._log = logger.bind(pbx=pbx, kind=kind)
        self._outage = Outage("log_unreachable", "log_reachable", pbx=pbx, kind=kind)

    @property
    def writer(self) -> int:
        """The number of this run."""
        return self.backlog.writer

    @property
    def appended(self) -> int:
        """The last ordinal of this run that is in the log."""
        return self.backlog.appended

    @property
    def waiting(self) -> int:
        """Events that are in memory and not in the log yet."""
        return len(self.backlog.queue)

    @property
    def spooled(self) -> SpoolState:
        """What waits on disk."""
        return self.backlog.spooled

    def stop(self) -> None:
        """Let `run` return once everything is in the log, or on disk when PostgreSQL is away."""
        self._stopping = True
        self.backlog.come.set()

    async def run(self) -> None:
        """Append until stopped; wait for PostgreSQL as long as it takes."""
        backlog = self.backlog
        await backlog.take_up()
        for writer in backlog.left:
            self._links.follow(writer)
        spilling = asyncio.create_task(backlog.spill())
        probing = asyncio.create_task(backlog.probe_disk())
        connection: asyncpg.Connection | None = None
        try:
            while not (self._stopping and (backlog.empty or self._is_over)):
                if spilling.done():
                    await spilling  # raises
                if backlog.empty:
                    backlog.come.clear()
                    await backlog.come.wait()
                    continue
                late = asyncio.get_running_loop().call_later(LATE_SECONDS, backlog.late.set)
                try:
                    if connection is None:
                        connection = await asyncpg.connect(self._url, timeout=10)
                    await self._advance(connection)
                except DATABASE_ERRORS as error:
                    # Whatever it says, shutting down, starting up, full disk, no such table, it may say something
                    # else later; only what is wrong with an event (see REFUSED) would never change.
                    self._complain(error)
                    backlog.late.set()
                    if connection is not None:
                        connection.terminate()
                        connection = None
                    if self._stopping and time.monotonic() - self._unreachable_since > PATIENCE_SECONDS:
                        break
                    await asyncio.sleep(RETRY_SECONDS)
                finally:
                    late.cancel()
        finally:
            for task in (spilling, probing):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            if connection is not None:
                connection.terminate()
            if self._is_over:
                await backlog.cut(self._own(), 0.0)
            await backlog.save()

    async def _advance(self, connection: asyncpg.Connection) -> None:
        """Append one batch of what is oldest."""
        if self.ours is not None:
            if not await self.ours():
                await self._taken_over(self._own(), 0.0)
                self._stopping = self._is_over = True
                return
            self.ours = None
        if self.opening is not None and not self.backlog.inherited:
            await self.opening(connection)
            self.opening = None
            self._links.follow(self.writer)
        batch = await self.backlog.oldest(self._size)
        try:
            if batch.events:
                await self._append(connection, batch)
        except asyncpg.LockNotAvailableError as error:
            if not (error.detail or "").isdecimal():
                raise  # somebody's lock_timeout
            await self._taken_over(batch, int(error.detail) / 1e6)
        except REFUSED as error:
            await self._refused(batch, error)
        else:
            await self.backlog.written(batch)
            self._size = min(BATCH, self._size * 2)
            self._outage.recover(quiet_seconds=0.0)
            self._unreachable_since = 0.0

    async def _append(self, connection: asyncpg.Connection, batch: Batch) -> None:
        if self._links.concerns(batch.writer, batch.events):
            async with asyncio.timeout(APPEND_SECONDS):
                await self._links.append(connection, batch.writer, batch.first, batch.events)
            return
        ahead, columns = self._ahead
        if ahead != batch.events:
            columns = to_columns(batch.events, seal(batch.events))
        place = (self.pbx, batch.writer, batch.first)
        appending = asyncio.create_task(append_columns(connection, place, columns))
        try:
            async with asyncio.timeout(APPEND_SECONDS):
                await asyncio.sleep(0)
                size = len(batch.events)
                await self._seal_ahead(list(islice(self.backlog.queue, size, size + BATCH)))
                await appending
        finally:
            appending.cancel()

    async def _seal_ahead(self, following: list[NewEvent]) -> None:
        """Use the time in which PostgreSQL works for what the next batch needs, if that will be a whole one."""
        self._ahead = [], ()
        if len(following) < BATCH:
            return
        occurred, recorded, leaves, salts = list[int | None](), list[int](), list[bytes](), list[bytes]()
        for start in range(0, BATCH, 512):
            try:
                part = seal(following[start : start + 512])
            except (ValueError, OverflowError):
                return  # one of them will be refused when its turn comes
            occurred.extend(part.occurred)
            recorded.extend(part.recorded)
            leaves.extend(part.leaves)
            salts.append(part.salts)
            await asyncio.sleep(0)  # bytes for PostgreSQL wait to be sent too
        sealed = Seals(occurred, recorded, leaves, b"".join(salts))
        self._ahead = following, to_columns(following, sealed)

    def _own(self) -> Batch:
        return Batch(None, self.writer, 1, [])

    async def _taken_over(self, batch: Batch, when: float) -> None:
        """Another listener has the PBX since ``when``: what we heard later it has heard too."""
        own = batch.writer == self.writer
        gone = await self.backlog.cut(batch, when)
        self._log.warning("taken_over", by="another listener", events_heard_twice=gone)
        if own:
            self.fenced()

    async def _refused(self, batch: Batch, error: Exception) -> None:
        if is_missing_ordinals(error):
            self._log.error("log_went_back", error=str(error), first=batch.first)
            self._links.reason = WENT_BACK
            if batch.writer == self.writer:
                self.went_back()
            writer = time.time_ns()
            await self.backlog.renumber(batch, writer)
            self._links.follow(writer)
            return
        self._size = max(1, len(batch.events) // 2)
        if len(batch.events) > 1:
            return  # half of it then: what is good goes in, until the refused one stands alone
        event = batch.events[0]
        if event.name == "Rejected":
            raise error  # not the content then
        self._log.error("event_refused", name=event.name, bytes=len(event.raw), error=str(error))
        rejected = Rejected(event.source, _text(event.name), _text(str(error)), event.raw)
        # The time of the refused event may be the reason of the refusal, so the new event has none.
        await self.backlog.replace(batch, replace(own_event(rejected, event.recorded), occurred=None))

    def _complain(self, error: Exception) -> None:
        self._unreachable_since = self._unreachable_since or time.monotonic()
        spooled = self.spooled
        self._outage.fail(error, waiting=self.waiting, spooled=spooled.events, bytes=spooled.bytes)


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
