"""From memory to the log: one writer per PBX that appends what was received, in order, and never loses its place.

While PostgreSQL keeps up, events go from memory to the log. When it is away or too slow, the spool on disk takes all
that is in memory and all that comes, and the log is fed from there until it has caught up.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

import asyncpg
import msgspec
import structlog

from schemas.log import Received, Rejected
from schemas.spool import SpoolState
from services import log
from services.spool import Spool, SpoolFullError, Spools

BATCH = 4096
BATCH_BYTES = 1 << 23
RETRY_SECONDS = 0.5
APPEND_SECONDS = 60
LATE_SECONDS = 1.0
"""An append that takes longer than this sends what waits behind it to the disk."""
PATIENCE_SECONDS = 1.0
"""How long a writer that should end tries to reach PostgreSQL before it leaves the rest on disk."""
COMPLAIN_SECONDS = 30
LATE_EVENTS = 150_000
LATE_BYTES = 64 << 20
"""Beyond either the disk takes over: four seconds of the heaviest traffic seen fit in."""
MAX_EVENTS = 200_000
MAX_BYTES = 85 << 20
"""Beyond either, should the disk be no faster, reading stops: a process stays under 200 MB."""

NOTHING = log.Sealed([], [], [], b"")

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

    ``writer`` numbers this run among all runs for the PBX; ordinals count its events. ``opening``, if set, is called
    once before the first append of this run's events; the events that it returns are appended before them.
    ``pressed`` is called with True when neither memory nor spool should take more, and with False when they may.
    ``ours``, if set, tells before that whether the PBX is ours to write about; if not, all of this run is dropped.
    ``fenced`` is called when another listener has taken over, and what was recorded later has been dropped;
    ``went_back`` when the log has lost what it had acknowledged, before anything more is appended.
    """

    def __init__(self, database_url: str, pbx: str, spools: Spools, kind: str = "ami") -> None:
        self.pbx = pbx
        self.kind = kind
        self.writer = time.time_ns()
        self.appended = 0
        self.waiting_bytes = 0
        self.opening: Callable[[asyncpg.Connection], Awaitable[list[Received]]] | None = None
        self.pressed: Callable[[bool], None] = lambda _full: None
        self.fenced: Callable[[], None] = lambda: None
        self.went_back: Callable[[], None] = lambda: None
        self.ours: Callable[[], Awaitable[bool]] | None = None
        self.room = asyncio.Event()
        self.room.set()
        self._url = database_url
        self._spools = spools
        self._spool: Spool | None = None
        self._left: list[Spool] = []
        self._moving = asyncio.Lock()
        self._spilling = asyncio.Event()
        self._queue: deque[Received] = deque()
        self._first = 1
        self._wake = asyncio.Event()
        self._stopping = False
        self._size = BATCH
        self._log = logger.bind(pbx=pbx, kind=kind)
        self._unreachable_since = 0.0
        self._complained = 0.0
        self._disk_full = ""
        self._ahead: tuple[list[Received], log.Sealed] = [], NOTHING

    def put(self, event: Received) -> None:
        """Take one event; its place in the log is after all that were put before."""
        self._queue.append(event)
        self.waiting_bytes += len(event.raw)
        if not self._wake.is_set():
            self._wake.set()
        if self.waiting_bytes > LATE_BYTES or len(self._queue) > LATE_EVENTS:
            self._spilling.set()
            if self.waiting_bytes > MAX_BYTES or len(self._queue) > MAX_EVENTS:
                self._press()

    @property
    def waiting(self) -> int:
        """Events that are in memory and not in the log yet."""
        return len(self._queue)

    @property
    def spooled(self) -> SpoolState:
        """What waits on disk."""
        every = [*self._left, *([self._spool] if self._spool else [])]
        return SpoolState(
            sum([s.events for s in every]), sum([s.bytes for s in every]), self._spools.limit, self._disk_full
        )

    def stop(self) -> None:
        """Let `run` return once everything is in the log, or on disk when PostgreSQL is away."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Append until stopped; wait for PostgreSQL as long as it takes."""
        self._left = [*self._left, *await asyncio.to_thread(self._spools.left, self.pbx, self.kind)]
        if self._left:
            self._log.warning("spool_taken_up", events=self.spooled.events, bytes=self.spooled.bytes)
        spilling = asyncio.create_task(self._spill())
        connection: asyncpg.Connection | None = None
        try:
            while not self._stopping or self._queue or self.spooled.events:
                if spilling.done():
                    await spilling  # raises
                if not (self._queue or self.spooled.events or self._left):
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                try:
                    if connection is None:
                        connection = await asyncpg.connect(self._url, timeout=10)
                    await self._advance(connection)
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                    # Whatever it says, shutting down, starting up, full disk, no such table, it may say something
                    # else later; only what is wrong with an event (see REFUSED) would never change.
                    self._complain(error)
                    self._spilling.set()
                    if connection is not None:
                        connection.terminate()
                        connection = None
                    if self._stopping and time.monotonic() - self._unreachable_since > PATIENCE_SECONDS:
                        break
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            spilling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await spilling
            if connection is not None:
                connection.terminate()
            await self._save()

    async def _advance(self, connection: asyncpg.Connection) -> None:
        """Append one batch of what is oldest."""
        spool = self._left[0] if self._left else None
        if spool is None:
            if self.ours is not None:
                if not await self.ours():
                    await self._lost(None, 0.0)
                    return
                self.ours = None
            if self.opening is not None:
                events = await self.opening(connection)
                await log.append(connection, self.pbx, self.writer - 1, 1, events)
                self.opening = None
            spool = self._spool
        if spool is None:
            writer, first = self.writer, self._first
            batch = _short(list(islice(self._queue, self._size)))
        else:
            async with self._moving:
                writer, first = spool.writer, spool.first
                batch = _short(await asyncio.to_thread(spool.head, self._size))
        try:
            if batch:
                await self._append(connection, writer, first, batch)
        except asyncpg.LockNotAvailableError as error:
            if not (error.detail or "").isdecimal():
                raise  # somebody's lock_timeout
            await self._lost(spool, int(error.detail) / 1e6)
            return
        except REFUSED as error:
            await self._refused(spool, batch, error)
            return
        await self._written(spool, first + len(batch) - 1, sum([len(e.raw) for e in batch]))
        self._size = min(BATCH, self._size * 2)
        if self._unreachable_since:
            self._log.warning("log_reachable", after=round(time.monotonic() - self._unreachable_since, 1))
            self._unreachable_since = self._complained = 0.0

    async def _append(self, connection: asyncpg.Connection, writer: int, first: int, batch: list[Received]) -> None:
        """Append, and have the disk take what waits behind when it takes long."""
        ahead, sealed = self._ahead
        if ahead != batch:
            sealed = log.seal(batch)
        late = asyncio.get_running_loop().call_later(LATE_SECONDS, self._spilling.set)
        appending = asyncio.create_task(log.append_sealed(connection, (self.pbx, writer, first), batch, sealed))
        try:
            async with asyncio.timeout(APPEND_SECONDS):
                await asyncio.sleep(0)
                await self._seal_ahead(list(islice(self._queue, len(batch), len(batch) + BATCH)))
                await appending
        finally:
            late.cancel()
            appending.cancel()

    async def _seal_ahead(self, following: list[Received]) -> None:
        """Use the time in which PostgreSQL works for what the next batch needs, if that will be a whole one."""
        self._ahead = [], NOTHING
        if len(following) < BATCH:
            return
        occurred, recorded, leaves, salts = list[int | None](), list[int](), list[bytes](), list[bytes]()
        for start in range(0, BATCH, 512):
            try:
                part = log.seal(following[start : start + 512])
            except (ValueError, OverflowError):
                return  # one of them will be refused when its turn comes
            occurred.extend(part.occurred)
            recorded.extend(part.recorded)
            leaves.extend(part.leaves)
            salts.append(part.salts)
            await asyncio.sleep(0)  # bytes for PostgreSQL wait to be sent too
        self._ahead = following, log.Sealed(occurred, recorded, leaves, b"".join(salts))

    async def _written(self, spool: Spool | None, upto: int, size: int) -> None:
        """Forget what is in the log now, wherever it stands by this time, and empty files with it."""
        async with self._moving:
            spool = spool or self._spool
            if spool is not None and upto >= spool.first:
                await asyncio.to_thread(spool.drop, upto, size)
            if spool is None or spool is self._spool:
                self.appended = upto
                if self._first <= upto:  # all of the batch still stands here, or none
                    for _ in range(self._first, upto + 1):
                        self._queue.popleft()
                    self.waiting_bytes -= size
                    self._first = upto + 1
            if (spool.events if spool is not None else len(self._queue)) <= BATCH and not self._left[1:]:
                # Nearly there, and PostgreSQL answers: what comes now need not go over the disk.
                self._spilling.clear()
                self._disk_full = ""
            if spool is not None and not spool.events:
                await asyncio.to_thread(spool.close)
                if spool is self._spool:
                    self._spool = None
                else:
                    self._left.remove(spool)
        self._relieve()

    async def _spill(self) -> None:
        """Move what is in memory to the disk for as long as it should."""
        while True:
            await self._spilling.wait()
            await self._wake.wait()
            async with self._moving:
                moved = list(islice(self._queue, BATCH))
                try:
                    if moved:
                        await asyncio.to_thread(self._to_disk, moved)
                        self._disk_full = ""
                except SpoolFullError as error:
                    if not self._disk_full:
                        self._log.error("spool_refused", error=str(error), waiting=self.waiting)
                    self._disk_full = str(error)
                    moved = []
                for event in moved:
                    self._queue.popleft()
                    self.waiting_bytes -= len(event.raw)
                self._first += len(moved)
            if self._disk_full or self.spooled.bytes >= self._spools.limit:
                self._press()
            if self._disk_full:
                await asyncio.sleep(RETRY_SECONDS)
            elif not self._queue:
                self._wake.clear()

    def _to_disk(self, events: Sequence[Received]) -> None:
        if self._spool is None:
            self._spool = self._spools.create(self.pbx, self.kind, self.writer)
            self._log.warning("spooling", file=str(self._spool.file))
        self._spool.put(self._first, events)

    async def _save(self) -> None:
        """Leave nothing behind in memory: the next run finds it on disk."""
        async with self._moving:
            try:
                if self._queue:
                    await asyncio.to_thread(self._to_disk, list(self._queue))
                    self._first += len(self._queue)
                    self._queue.clear()
                    self.waiting_bytes = 0
            except SpoolFullError as error:
                self._log.error("events_not_written", events=self.waiting, bytes=self.waiting_bytes, error=str(error))
            if events := self.spooled.events:
                self._log.warning("events_spooled", events=events, bytes=self.spooled.bytes)
            for spool in (*self._left, *([self._spool] if self._spool else [])):
                spool.close()
            self._left, self._spool = [], None

    def _press(self) -> None:
        if self.room.is_set():
            self.room.clear()
            self.pressed(True)  # noqa: FBT003

    def _relieve(self) -> None:
        spooled = self.spooled
        free = not self._disk_full and (spooled.bytes < spooled.limit * 3 // 4 or not spooled.events)
        if not self.room.is_set() and free and self.waiting_bytes < LATE_BYTES // 2 and self.waiting < LATE_EVENTS // 2:
            self.room.set()
            self.pressed(False)  # noqa: FBT003

    async def _lost(self, spool: Spool | None, taken_over: float) -> None:
        """Another listener has the PBX since ``taken_over``: what we heard later it has heard too."""
        async with self._moving:
            gone = 0
            for one in [spool] if spool and spool is not self._spool else [self._spool] if self._spool else []:
                gone += await asyncio.to_thread(one.cut, taken_over)
            if spool is None or spool is self._spool:
                kept = [e for e in self._queue if e.recorded <= taken_over]
                gone += len(self._queue) - len(kept)
                self._queue = deque(kept)
                self.waiting_bytes = sum([len(e.raw) for e in kept])
        self._log.warning("taken_over", by="another listener", events_heard_twice=gone)
        if spool is None or spool is self._spool:
            self.fenced()

    async def _refused(self, spool: Spool | None, batch: list[Received], error: Exception) -> None:
        if "events are missing" in str(error):
            # ledger.append has forgotten what it once acknowledged (the database went back in time), or is another.
            self._log.error("log_went_back", error=str(error), appended=self.appended)
            async with self._moving:
                if spool is None or spool is self._spool:
                    self.writer, self.appended = time.time_ns(), 0
                    self.went_back()
                    self._first = 1 + (self._spool.events if self._spool else 0)
                if spool := spool or self._spool:
                    writer = self.writer if spool is self._spool else time.time_ns()
                    await asyncio.to_thread(spool.renumber, writer)
            return
        self._size = max(1, len(batch) // 2)
        if len(batch) > 1:
            return  # half of it then: what is good goes in, until the refused one stands alone
        event = batch[0]
        if event.name == "Rejected":
            raise error  # not the content then
        self._log.error("event_refused", name=event.name, bytes=len(event.raw), error=str(error))
        rejected = Rejected(event.source, _text(event.name), _text(str(error)), event.raw)
        instead = Received("ringledger", "Rejected", None, event.recorded, msgspec.json.encode(rejected))
        async with self._moving:
            if spool := spool or self._spool:
                await asyncio.to_thread(spool.replace, instead)
            else:
                self._queue[0] = instead
                self.waiting_bytes += len(instead.raw) - len(event.raw)

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        self._unreachable_since = self._unreachable_since or now
        if now - self._complained >= COMPLAIN_SECONDS or not self._complained:
            self._complained = now
            spooled = self.spooled
            self._log.warning(
                "log_unreachable", waiting=self.waiting, spooled=spooled.events, bytes=spooled.bytes, error=repr(error)
            )


def _short(batch: list[Received]) -> list[Received]:
    while sum([len(e.raw) for e in batch]) > BATCH_BYTES and len(batch) > 1:
        del batch[(len(batch) + 1) // 2 :]
    return batch


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
