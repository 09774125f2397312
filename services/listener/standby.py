"""The terms of one PBX's listener: it stands by, holds the lease, listens and writes, and stands by again."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from schemas.listener import ListenerState, Posted
from schemas.spool import SpoolState
from services.listener.ingest import Ingest
from services.listener.lease import Lease
from services.listener.spool import Spools
from services.runtime.supervise import supervised
from services.runtime.tasks import set_after

DRAIN_SECONDS = 5.0


class Listens(Protocol):
    """What hears one PBX and gives what it hears to a writer."""

    link_up: bool

    @property
    def clock_offset(self) -> float | None:
        """How many seconds the PBX's clock is ahead of ours, None while unknown."""

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop``."""


class Terms:
    """The listener of one kind (ami, ari) for one PBX; ``hearing`` makes what listens during a term."""

    def __init__(self, pbx: str, kind: str, url: str, spools: Spools, hearing: Callable[[Ingest], Listens]) -> None:
        self.pbx = pbx
        self.kind = kind
        self._url = url
        self._spools = spools
        self._hearing = hearing
        self._now: tuple[Ingest, Listens, Lease] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Take one term after the other until ``stop``; what cannot be written by then stays in the spool."""
        while not stop.is_set():
            await supervised("term", self.pbx, lambda: self._term(stop), stop)

    async def _term(self, stop: asyncio.Event) -> None:
        ingest = Ingest(self._url, self.pbx, self._spools, self.kind)
        lease = Lease(self._url, self.pbx, self.kind, ingest.writer)
        await lease.stand_by(stop)
        if stop.is_set():
            await lease.release()
            return
        over = asyncio.Event()
        ingest.fenced = over.set
        ingest.ours = lease.ours
        hearing = self._hearing(ingest)
        self._now = ingest, hearing, lease
        keeping = asyncio.create_task(supervised("lease", self.pbx, lambda: lease.keep(self.state, over), over))
        ending = asyncio.create_task(set_after(stop, over))
        try:
            await into_the_log(ingest, lambda: hearing.run(over), over)
        finally:
            self._now = None
            for task in (ending, keeping):
                task.cancel()
            await asyncio.wait([ending, keeping])
            await lease.release()

    def state(self) -> ListenerState:
        """Say how this listener does."""
        if self._now is None:
            return ListenerState("down", 0, SpoolState(limit=self._spools.limit))
        ingest, hearing, _ = self._now
        backlog = ingest.backlog
        return ListenerState(
            "up" if hearing.link_up else "down",
            ingest.waiting,
            ingest.spooled,
            paused=not backlog.room.is_set(),
            stalled=backlog.stalled,
            clock_offset=hearing.clock_offset,
        )

    def posted(self) -> Posted:
        """Say so for the board."""
        state = self.state()
        holding = self._now is not None and self._now[2].held
        return Posted(
            self.pbx,
            self.kind,
            holding,
            state.link,
            state.waiting,
            state.spool,
            state.paused,
            state.stalled,
            state.clock_offset,
        )


async def into_the_log(ingest: Ingest, body: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Keep ``body``, which ends soon after ``stop``, and its writer running; then give the writer 5 s to drain.

    What is not in the log by then is left in the spool.
    """
    writing = asyncio.create_task(supervised("writer", ingest.pbx, ingest.run, stop))
    await supervised("listener", ingest.pbx, body, stop)
    ingest.stop()
    await asyncio.wait([writing], timeout=DRAIN_SECONDS)
    if not writing.done():
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
