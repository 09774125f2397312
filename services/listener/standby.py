"""The terms of one PBX's listener: it stands by, holds the lease, listens and appends, and stands by again."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, Protocol

from schemas.listener import ListenerEntry, ListenerState
from schemas.spool import SpoolState
from services.listener.ami import MakeIngest
from services.listener.backlog.spools import Spools
from services.listener.ingest import Ingest
from services.listener.lease import Lease
from services.runtime.supervise import supervised
from services.runtime.tasks import set_after

DRAIN_TIMEOUT_SECONDS = 5.0


class Receiver(Protocol):
    """A link to one PBX that puts received events into its ``ingest``."""

    link_up: bool
    ingest: Ingest

    @property
    def clock_offset(self) -> float | None:
        """How many seconds the PBX's clock is ahead of this machine's, None while unknown."""

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop``."""


class Term(NamedTuple):
    """The parts of a running term."""

    receiver: Receiver
    lease: Lease


class StandbyListener:
    """The listener of one kind (ami, ari) for one PBX; ``make_receiver`` creates the link of each term."""

    def __init__(
        self, pbx: str, kind: str, url: str, spools: Spools, make_receiver: Callable[[MakeIngest], Receiver]
    ) -> None:
        self.pbx = pbx
        self.kind = kind
        self._url = url
        self._spools = spools
        self._make_receiver = make_receiver
        self._term: Term | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Run one term after the other until ``stop``; events not appended by then stay in the spool."""
        while not stop.is_set():
            await supervised("term", self.pbx, lambda: self._run_term(stop), stop)

    async def _run_term(self, stop: asyncio.Event) -> None:
        writer = time.time_ns()
        lease = Lease(self._url, self.pbx, self.kind, writer)
        await lease.stand_by(stop)
        if stop.is_set():
            await lease.release()
            return
        over = asyncio.Event()
        make_ingest: MakeIngest = partial(
            Ingest,
            self._url,
            self.pbx,
            self._spools,
            self.kind,
            writer=writer,
            still_leader=lease.still_leader,
            on_fenced=over.set,
        )
        receiver = self._make_receiver(make_ingest)
        self._term = Term(receiver, lease)
        renewing = asyncio.create_task(supervised("lease", self.pbx, lambda: lease.renew_until(over, self.state), over))
        ending = asyncio.create_task(set_after(stop, over))
        try:
            await append_while(receiver.ingest, lambda: receiver.run(over), over)
        finally:
            self._term = None
            for task in (ending, renewing):
                task.cancel()
            await asyncio.wait([ending, renewing])
            await lease.release()

    def state(self) -> ListenerState:
        """Return the state for ``ledger.listener``."""
        if self._term is None:
            return ListenerState("down", 0, SpoolState(limit=self._spools.limit))
        receiver = self._term.receiver
        ingest, backlog = receiver.ingest, receiver.ingest.backlog
        return ListenerState(
            "up" if receiver.link_up else "down",
            ingest.waiting,
            ingest.spool_state,
            paused=not backlog.has_room.is_set(),
            stalled=backlog.stalled,
            clock_offset=receiver.clock_offset,
        )

    def entry(self) -> ListenerEntry:
        """Return the state for ``listeners.json``."""
        state = self.state()
        return ListenerEntry(
            self.pbx,
            self.kind,
            self._term is not None and self._term.lease.is_held,
            state.link,
            state.waiting,
            state.spool,
            state.paused,
            state.stalled,
            state.clock_offset,
        )


async def append_while(ingest: Ingest, body: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Run ``body``, which ends soon after ``stop``, and the writer beside it; then let the writer drain.

    Events that are not in the log after `DRAIN_TIMEOUT_SECONDS` stay in the spool.
    """
    writing = asyncio.create_task(supervised("writer", ingest.pbx, ingest.run, stop))
    await supervised("listener", ingest.pbx, body, stop)
    ingest.stop()
    await asyncio.wait([writing], timeout=DRAIN_TIMEOUT_SECONDS)
    if not writing.done():
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
