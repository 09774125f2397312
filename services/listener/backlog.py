"""What was received and is not in the log yet: in memory while PostgreSQL keeps up, else on disk, always in order."""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import structlog
from msgspec import Struct

from schemas.log import NewEvent
from schemas.spool import SpoolState
from services.listener.spool import Spool, SpoolFullError, Spools

BATCH = 4096
BATCH_BYTES = 1 << 23
BEHIND_EVENTS = 4 * BATCH
"""Beyond, it is better to read no faster than the log takes it: what waits on disk costs twice."""
RETRY_SECONDS = 0.5
PROBE_SECONDS = 60.0
"""How often the disk is tried while it is not needed."""
REFUSED_PROBE_SECONDS = 2.0
"""How often a disk is tried that took no spool: `/readyz` is 503 until it does."""
LATE_EVENTS = 150_000
LATE_BYTES = 64 << 20
"""Beyond either the disk takes over: four seconds of the heaviest traffic seen fit in."""
MAX_EVENTS = 200_000
MAX_BYTES = 85 << 20
"""Beyond either, should the disk be no faster, reading stops: a process stays under 200 MB."""

logger = structlog.get_logger()


class Batch(Struct):
    """The oldest events, with ordinals from ``first`` on under ``writer``; ``spool`` is the file that they stand in.

    None means memory; the disk may take them over while they are being appended.
    """

    spool: Spool | None
    writer: int
    first: int
    events: list[NewEvent]


class Backlog:
    """The events of one PBX, from `put` until they are `written`.

    Events of earlier processes come first, under their own writers; ``writer`` is ours, ``appended`` the last of our
    ordinals that is in the log. ``room`` is set while more may be read; ``pressed`` is called with True when it is
    not any more, and with False when it is again. `spill` must run all the time.
    """

    def __init__(self, pbx: str, kind: str, spools: Spools, writer: int) -> None:
        self.writer = writer
        self.appended = 0
        self.bytes = 0
        self.queue: deque[NewEvent] = deque()
        self.come = asyncio.Event()
        self.late = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()
        self.pressed: Callable[[bool], None] = lambda _full: None
        self._pbx = pbx
        self._kind = kind
        self._spools = spools
        self._spool: Spool | None = None
        self._left: list[Spool] = []
        self._first = 1
        self._moving = asyncio.Lock()
        self._disk_full = ""
        self._progress = time.monotonic()
        self._unusable = ""
        self._log = logger.bind(pbx=pbx, kind=kind)

    def put(self, event: NewEvent) -> None:
        """Take one event; its place in the log is after all that were put before."""
        self.put_all([event])

    def put_all(self, events: Sequence[NewEvent]) -> None:
        """Take events in their order, as `put` does."""
        if self.empty:
            self._progress = time.monotonic()
        self.queue.extend(events)
        self.bytes += sum([len(e.raw) for e in events])
        if not self.come.is_set():
            self.come.set()
        if self.bytes > LATE_BYTES or len(self.queue) > LATE_EVENTS:
            self.late.set()
            if self.bytes > MAX_BYTES or len(self.queue) > MAX_EVENTS:
                self._press()

    @property
    def behind(self) -> bool:
        """Whether reading should leave more time to what is read already."""
        return len(self.queue) > BEHIND_EVENTS

    @property
    def spooled(self) -> SpoolState:
        """What waits on disk."""
        every = [*self._left, *([self._spool] if self._spool else [])]
        error = self._disk_full or self._unusable
        return SpoolState(sum([s.events for s in every]), sum([s.bytes for s in every]), self._spools.limit, error)

    @property
    def empty(self) -> bool:
        """Whether nothing is left to be appended."""
        return not (self.queue or self._left or (self._spool and self._spool.events))

    @property
    def stalled(self) -> float:
        """Seconds for which events have waited without one of them reaching the log; 0 while none waits."""
        return 0.0 if self.empty else round(time.monotonic() - self._progress, 1)

    @property
    def inherited(self) -> bool:
        """Whether what stands first is of an earlier process."""
        return bool(self._left)

    @property
    def left(self) -> list[int]:
        """The writers of earlier processes whose events are not in the log yet."""
        return [spool.writer for spool in self._left]

    async def take_up(self) -> None:
        """Open what earlier processes left."""
        self._left += await asyncio.to_thread(self._spools.left, self._pbx, self._kind)
        if self._left:
            self._log.warning("spool_taken_up", events=self.spooled.events, bytes=self.spooled.bytes)

    async def oldest(self, limit: int) -> Batch:
        """Return the events that must be appended next."""
        while spool := self._left[0] if self._left else self._spool:
            async with self._moving:
                try:
                    events = await asyncio.to_thread(_readable, spool, limit)
                except sqlite3.DatabaseError as error:
                    self._set_aside(spool, error)
                else:
                    return Batch(spool, spool.writer, spool.first, _short(events))
        return Batch(None, self.writer, self._first, _short(list(islice(self.queue, limit))))

    def _set_aside(self, spool: Spool, error: sqlite3.DatabaseError) -> None:
        """Leave a damaged file to people, with all that is in it; what comes after it must reach the log."""
        self._spools.set_aside(spool.file, f"{error}; {spool.events} events are left in it")
        spool.close()
        if spool is self._spool:
            self._spool = None
        else:
            self._left.remove(spool)

    async def written(self, batch: Batch) -> None:
        """Forget what is in the log now, wherever it stands by this time, and empty files with it."""
        self._progress = time.monotonic()
        upto, size = batch.first + len(batch.events) - 1, sum([len(e.raw) for e in batch.events])
        async with self._moving:
            spool = batch.spool or self._spool
            if spool is not None and upto >= spool.first:
                await asyncio.to_thread(spool.drop, upto, size)
            if self._is_own(batch):
                self.appended = upto
                if self._first <= upto:  # all of the batch still stands here, or none
                    for _ in range(self._first, upto + 1):
                        self.queue.popleft()
                    self.bytes -= size
                    self._first = upto + 1
            if (spool.events if spool is not None else len(self.queue)) <= BATCH and not self._left[1:]:
                # Nearly there, and PostgreSQL answers: what comes now need not go over the disk.
                self.late.clear()
                self._disk_full = ""
            if spool is not None and not spool.events:
                await asyncio.to_thread(spool.close)
                if spool is self._spool:
                    self._spool = None
                else:
                    self._left.remove(spool)
        self._relieve()

    async def spill(self) -> None:
        """Move what is in memory to the disk for as long as ``late`` is set."""
        while True:
            await self.late.wait()
            await self.come.wait()
            async with self._moving:
                moved = list(islice(self.queue, BATCH))
                try:
                    if moved:
                        await asyncio.to_thread(self._to_disk, moved)
                        self._disk_full = ""
                except SpoolFullError as error:
                    if not self._disk_full:
                        self._log.error("spool_refused", error=str(error), waiting=len(self.queue))
                    self._disk_full = str(error)
                    moved = []
                for event in moved:
                    self.queue.popleft()
                    self.bytes -= len(event.raw)
                self._first += len(moved)
            if self._disk_full or self.spooled.bytes >= self._spools.limit:
                self._press()
            if self._disk_full:
                await asyncio.sleep(RETRY_SECONDS)
            elif not self.queue:
                self.come.clear()

    async def probe_disk(self) -> None:
        """Find out, from the start on, whether the disk would take a spool: `spooled` says so before it is needed."""
        while True:
            probing = asyncio.ensure_future(asyncio.to_thread(self._spools.probe, self._pbx, self._kind))
            try:
                error = await asyncio.shield(probing)
            except asyncio.CancelledError:
                await probing  # it leaves no file behind
                raise
            if error and error != self._unusable:
                self._log.error("spool_unusable", folder=str(self._spools.folder), error=error)
            elif self._unusable and not error:
                self._log.info("spool_usable", folder=str(self._spools.folder))
            self._unusable = error
            await asyncio.sleep(REFUSED_PROBE_SECONDS if error else PROBE_SECONDS)

    def _to_disk(self, events: Sequence[NewEvent]) -> None:
        if self._spool is None:
            self._spool = self._spools.create(self._pbx, self._kind, self.writer)
            self._log.warning("spooling", file=str(self._spool.file))
        self._spool.put(self._first, events)

    async def save(self) -> None:
        """Leave nothing behind in memory: the next process finds it on disk."""
        async with self._moving:
            try:
                if self.queue:
                    await asyncio.to_thread(self._to_disk, list(self.queue))
                    self._first += len(self.queue)
                    self.queue.clear()
                    self.bytes = 0
            except SpoolFullError as error:
                self._log.error("events_not_written", events=len(self.queue), bytes=self.bytes, error=str(error))
            if events := self.spooled.events:
                self._log.warning("events_spooled", events=events, bytes=self.spooled.bytes)
            for spool in (*self._left, *([self._spool] if self._spool else [])):
                spool.close()
            self._left, self._spool = [], None

    async def cut(self, batch: Batch, after: float) -> int:
        """Drop what this batch's writer recorded after a time (seconds since the epoch); return how many that were."""
        async with self._moving:
            gone = 0
            if spool := batch.spool or self._spool:
                gone += await asyncio.to_thread(spool.cut, after)
            if self._is_own(batch):
                kept = [e for e in self.queue if e.recorded <= after]
                gone += len(self.queue) - len(kept)
                self.queue = deque(kept)
                self.bytes = sum([len(e.raw) for e in kept])
        return gone

    async def renumber(self, batch: Batch, writer: int) -> None:
        """Give what this batch's writer has left to a new one, from ordinal 1 on."""
        async with self._moving:
            if self._is_own(batch):
                self.writer, self.appended = writer, 0
                self._first = 1 + (self._spool.events if self._spool else 0)
            if spool := batch.spool or self._spool:
                await asyncio.to_thread(spool.renumber, writer)

    async def replace(self, batch: Batch, event: NewEvent) -> None:
        """Put another event in the place of the batch's first."""
        async with self._moving:
            if spool := batch.spool or self._spool:
                await asyncio.to_thread(spool.replace, event)
            else:
                self.bytes += len(event.raw) - len(self.queue[0].raw)
                self.queue[0] = event

    def _is_own(self, batch: Batch) -> bool:
        return batch.spool is None or batch.spool is self._spool

    def _press(self) -> None:
        if self.room.is_set():
            self.room.clear()
            self.pressed(True)  # noqa: FBT003

    def _relieve(self) -> None:
        spooled = self.spooled
        free = not self._disk_full and (spooled.bytes < spooled.limit * 3 // 4 or not spooled.events)
        if not self.room.is_set() and free and self.bytes < LATE_BYTES // 2 and len(self.queue) < LATE_EVENTS // 2:
            self.room.set()
            self.pressed(False)  # noqa: FBT003


def _readable(spool: Spool, limit: int) -> list[NewEvent]:
    """Return the oldest events up to a damaged one. Raises sqlite3.DatabaseError if that is the first."""
    while True:
        try:
            return spool.head(limit)
        except sqlite3.DatabaseError:
            if limit == 1:
                raise
            limit = max(1, limit // 8)


def _short(batch: list[NewEvent]) -> list[NewEvent]:
    while sum([len(e.raw) for e in batch]) > BATCH_BYTES and len(batch) > 1:
        del batch[(len(batch) + 1) // 2 :]
    return batch
