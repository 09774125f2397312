"""The events that are not in the log yet: in memory while PostgreSQL keeps up, else on disk, always in order."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence

import structlog

from schemas.log import NewEvent
from schemas.spool import SpoolState
from services.listener.backlog.batch import BATCH_EVENTS, PendingBatch, read_intact, shorten
from services.listener.backlog.disk_queue import DiskQueue
from services.listener.backlog.memory_queue import MemoryQueue
from services.listener.backlog.spool import SpoolFullError
from services.listener.backlog.spools import Spools

BEHIND_EVENTS = 4 * BATCH_EVENTS
"""Beyond this reading should be no faster than appending, because an event that goes over the disk costs twice."""
RETRY_SECONDS = 0.5
SPILL_EVENTS = 150_000
SPILL_BYTES = 64 << 20
"""Beyond either the disk takes over: four seconds of the heaviest traffic measured fit in."""
MAX_EVENTS = 200_000
MAX_BYTES = 85 << 20
"""Beyond either, if the disk is too slow, reading stops: a process stays under 200 MB."""

logger = structlog.get_logger()


class Backlog:
    """The events of one PBX, from `put` until they are `appended`.

    Events of earlier processes come first, under their own writers. ``writer`` is ours, ``last_appended`` the last of
    our ordinals that is in the log. ``has_room`` is set while more may be read. ``on_full_change`` is called with True
    when there is no more room, and with False when there is again. `spill` must run all the time.
    """

    def __init__(
        self,
        pbx: str,
        kind: str,
        spools: Spools,
        writer: int,
        on_full_change: Callable[[bool], None] = lambda _is_full: None,
    ) -> None:
        self.writer = writer
        self.last_appended = 0
        self.memory = MemoryQueue()
        self.disk = DiskQueue(pbx, kind, spools)
        self.arrived = asyncio.Event()
        self.spill_due = asyncio.Event()
        self.has_room = asyncio.Event()
        self.has_room.set()
        self._on_full_change = on_full_change
        self._moving = asyncio.Lock()
        self._last_progress = time.monotonic()
        self._log = logger.bind(pbx=pbx, kind=kind)

    def put(self, event: NewEvent) -> None:
        """Add one event; its place in the log is after all earlier ones."""
        self.put_all([event])

    def put_all(self, events: Sequence[NewEvent]) -> None:
        """Add events in their order."""
        if self.is_empty:
            self._last_progress = time.monotonic()
        memory = self.memory
        memory.put(events)
        if not self.arrived.is_set():
            self.arrived.set()
        if memory.bytes > SPILL_BYTES or len(memory) > SPILL_EVENTS:
            self.spill_due.set()
            if memory.bytes > MAX_BYTES or len(memory) > MAX_EVENTS:
                self._close_intake()

    @property
    def is_behind(self) -> bool:
        """Whether reading should leave more time to appending."""
        return len(self.memory) > BEHIND_EVENTS

    @property
    def spool_state(self) -> SpoolState:
        """The events on disk."""
        return self.disk.state

    @property
    def is_empty(self) -> bool:
        """Whether every event is in the log."""
        return not self.memory and self.disk.is_empty

    @property
    def stalled(self) -> float:
        """Seconds for which events have waited without one of them reaching the log; 0 while none waits."""
        return 0.0 if self.is_empty else round(time.monotonic() - self._last_progress, 1)

    @property
    def inherited_writers(self) -> list[int]:
        """The writers of earlier processes whose events are not in the log yet."""
        return [spool.writer for spool in self.disk.inherited]

    async def next_batch(self, limit: int) -> PendingBatch:
        """Return the events that must be appended next."""
        while spool := self.disk.oldest:
            async with self._moving:
                try:
                    events = await asyncio.to_thread(read_intact, spool, limit)
                except sqlite3.DatabaseError as error:
                    self.disk.quarantine(spool, error)
                else:
                    return PendingBatch(spool, spool.writer, spool.first, shorten(events))
        return PendingBatch(None, self.writer, self.memory.first, shorten(self.memory.slice(0, limit)))

    async def appended(self, batch: PendingBatch) -> None:
        """Remove the events of a batch that is in the log, from memory or disk, and empty files with them."""
        self._last_progress = time.monotonic()
        async with self._moving:
            spool = batch.spool or self.disk.own
            if spool is not None and batch.last >= spool.first:
                await asyncio.to_thread(spool.drop, batch.last, sum([len(e.raw) for e in batch.events]))
            if self._is_own(batch):
                self.last_appended = batch.last
                if self.memory.first <= batch.last:  # all of the batch is still in memory, or nothing
                    self.memory.drop(batch.last + 1 - self.memory.first)
            remaining = spool.events if spool is not None else len(self.memory)
            if remaining <= BATCH_EVENTS and not self.disk.inherited[1:]:
                # Almost caught up, and PostgreSQL answers: new events need not go over the disk.
                self.spill_due.clear()
                self.disk.write_error = ""
            if spool is not None and not spool.events:
                await self.disk.remove(spool)
        self._reopen_intake()

    async def spill(self) -> None:
        """Move events from memory to the disk for as long as ``spill_due`` is set."""
        memory, disk = self.memory, self.disk
        while True:
            await self.spill_due.wait()
            await self.arrived.wait()
            async with self._moving:
                moved = memory.slice(0, BATCH_EVENTS)
                try:
                    if moved:
                        await asyncio.to_thread(disk.put, self.writer, memory.first, moved)
                        disk.write_error = ""
                except SpoolFullError as error:
                    if not disk.write_error:
                        self._log.error("spool_refused", error=str(error), waiting=len(memory))
                    disk.write_error = str(error)
                    moved = []
                memory.drop(len(moved))
            if disk.write_error or disk.is_over_limit:
                self._close_intake()
            if disk.write_error:
                await asyncio.sleep(RETRY_SECONDS)
            elif not memory:
                self.arrived.clear()

    async def save(self) -> None:
        """Move all events from memory to the disk for the next process, and close the files."""
        memory = self.memory
        async with self._moving:
            try:
                if memory:
                    await asyncio.to_thread(self.disk.put, self.writer, memory.first, list(memory.events))
                    memory.drop(len(memory))
            except SpoolFullError as error:
                self._log.error("events_not_written", events=len(memory), bytes=memory.bytes, error=str(error))
            self.disk.close()

    async def discard_after(self, batch: PendingBatch, when: float) -> int:
        """Drop this writer's events recorded after a time (seconds since the epoch); return their number."""
        async with self._moving:
            count = 0
            if spool := batch.spool or self.disk.own:
                count += await asyncio.to_thread(spool.discard_after, when)
            if self._is_own(batch):
                count += self.memory.discard_after(when)
        return count

    async def renumber(self, batch: PendingBatch, writer: int) -> None:
        """Assign the remaining events of this batch's writer to a new one, from ordinal 1 on."""
        async with self._moving:
            own = self.disk.own
            if self._is_own(batch):
                self.writer, self.last_appended = writer, 0
                self.memory.first = 1 + (own.events if own else 0)
            if spool := batch.spool or own:
                await asyncio.to_thread(spool.renumber, writer)

    async def replace(self, batch: PendingBatch, event: NewEvent) -> None:
        """Replace the first event of the batch."""
        async with self._moving:
            if spool := batch.spool or self.disk.own:
                await asyncio.to_thread(spool.replace, event)
            else:
                self.memory.replace_first(event)

    def _is_own(self, batch: PendingBatch) -> bool:
        return batch.spool is None or batch.spool is self.disk.own

    def _close_intake(self) -> None:
        if self.has_room.is_set():
            self.has_room.clear()
            self._on_full_change(True)  # noqa: FBT003

    def _reopen_intake(self) -> None:
        state = self.disk.state
        is_disk_free = not self.disk.write_error and (state.bytes < state.limit * 3 // 4 or not state.events)
        is_memory_free = self.memory.bytes < SPILL_BYTES // 2 and len(self.memory) < SPILL_EVENTS // 2
        if not self.has_room.is_set() and is_disk_free and is_memory_free:
            self.has_room.set()
            self._on_full_change(False)  # noqa: FBT003
