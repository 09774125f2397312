"""The newest checkpoints that a process has read, and the means to wait for newer ones. No I/O."""

import asyncio
import contextlib
import math
from collections.abc import Sequence

import structlog

from services.projector.checkpoints.checkpoints import CheckpointReading, UnreadyError
from services.runtime.clock import CLOCK, Clock

STALE_SECONDS = 2.5
"""Without a reading for this long a process no longer claims to be up to date."""
REFRESH_SECONDS = 1.0

logger = structlog.get_logger()


class Broadcast:
    """Wakes all tasks that wait at the moment of `notify`, and none that wait later."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Wake all waiting tasks."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the next `notify`."""
        await self._event.wait()


class CheckpointWaits:
    """The newest `CheckpointReading`, and the waits for a change, a position, a longer log, or another log.

    `wait_folded` and `refresh` count only readings that all followers have processed. A reading that came with a view's
    rows (`observe`) counts for views only.
    """

    def __init__(self, clock: Clock = CLOCK) -> None:
        self.newest: CheckpointReading | None = None
        self.head = 0
        self.stopping = False
        self._followed: CheckpointReading | None = None
        self._wake = asyncio.Event()
        self._processed = Broadcast()
        self._changed = Broadcast()
        self._grown = Broadcast()
        self._clock = clock
        self._first = math.inf
        self._caught_up: dict[str, float] = {}

    @property
    def reading(self) -> CheckpointReading:
        """The newest reading. Raises UnreadyError before the first one."""
        if self.newest is None:
            raise UnreadyError("the database has not replied yet")
        return self.newest

    @property
    def is_stale(self) -> bool:
        """Whether there was no reading for `STALE_SECONDS`."""
        return self.newest is None or asyncio.get_running_loop().time() - self.newest.began > STALE_SECONDS

    def lag_ms(self, models: Sequence[str], reading: CheckpointReading) -> int:
        """Return the greatest possible age of events that these models have not folded, 0 if they have folded all."""
        lag = 0.0
        for name in models:
            checkpoint = reading.models[name]
            if checkpoint.position < max(self.head, reading.head) or self.is_stale:
                recorded = checkpoint.at.timestamp() if checkpoint.at else 0.0
                lag = max(lag, self._age(name, recorded))
        return int(lag * 1000)

    def _age(self, name: str, recorded: float) -> float:
        """Return the age of a model whose last event was recorded at ``recorded``.

        The model is no older than the last time it had caught up, by the event loop's clock. The event's time counts
        only while this machine's clock is not before it.
        """
        since_caught_up = asyncio.get_running_loop().time() - self._caught_up.get(name, self._first)
        since_recorded = self._clock.now() - recorded
        if since_recorded < 0:
            return since_caught_up
        return min(since_recorded, since_caught_up) if name in self._caught_up else since_recorded

    def observe(self, reading: CheckpointReading) -> None:
        """Store a reading, unless a newer one is stored."""
        before = self.newest
        if before is not None and not reading.is_after(before):
            return
        self.newest = reading
        self._first = min(self._first, reading.began)
        if before is not None and before.timeline != reading.timeline:
            self._rewind(before, reading)
        self._extend(reading.head)
        for name, checkpoint in reading.models.items():
            if checkpoint.position >= reading.head:
                self._caught_up[name] = reading.began
        if before is None or _versions(before) != _versions(reading):
            self._changed.notify()

    def stop(self) -> None:
        """End all waits for a change or a reading; the waiting requests respond with the present state."""
        self.stopping = True
        self._changed.notify()
        self._processed.notify()

    async def refresh(self) -> bool:
        """Wait for a reading that begins after this call, at most `REFRESH_SECONDS`; return whether it came."""
        now = asyncio.get_running_loop().time()
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFRESH_SECONDS):
                while self._followed is None or self._followed.began < now:
                    await self._processed.wait()
                return True
        return False

    async def wait_folded(self, models: Sequence[str], position: int) -> None:
        """Wait until these models have folded the event at ``position``; the caller limits the time."""
        while self._followed is None or any(
            (checkpoint := self._followed.models.get(name)) is None or checkpoint.position < position for name in models
        ):
            await self._processed.wait()

    async def wait_changed(self, models: Sequence[str], tag: str, seconds: float) -> None:
        """Wait until the tag of these models is not ``tag``, at most ``seconds``, or until `stop`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.stopping and self.reading.tag(models) == tag:
                    await self._changed.wait()

    async def wait_past(self, position: int) -> None:
        """Wait until the log has events after ``position``, or turns out to be another log."""
        timeline = self._timeline
        while self.head <= position and timeline == self._timeline:
            await self._grown.wait()

    async def wait_rewound(self) -> None:
        """Wait until the log turns out not to continue the one that was read before."""
        timeline = self._timeline
        while timeline == self._timeline:
            await self._grown.wait()

    @property
    def _timeline(self) -> int:
        return 0 if self.newest is None else self.newest.timeline

    def _process(self, reading: CheckpointReading) -> None:
        """Store a reading that all followers have processed."""
        self.observe(reading)
        if reading.timeline == self._timeline:
            self._followed = reading
        self._processed.notify()

    def _extend(self, head: int) -> None:
        if head > self.head:
            self.head = head
            self._grown.notify()

    def _rewind(self, before: CheckpointReading, reading: CheckpointReading) -> None:
        """Drop all positions that the log has lost."""
        logger.error("log_went_back", before=before.head, now=reading.head)
        self.head = reading.head
        self._followed = None
        self._caught_up.clear()
        self._wake.set()
        self._grown.notify()


def _versions(reading: CheckpointReading) -> list[tuple[str, int, int, int, int]]:
    return [(name, c.version, c.changed, c.swaps, c.mark) for name, c in sorted(reading.models.items())]
