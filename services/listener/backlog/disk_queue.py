"""The part of a backlog on disk: spools of earlier processes first, then the one of this process."""

import asyncio
import sqlite3
from collections.abc import Sequence

import structlog

from schemas.log import NewEvent
from schemas.spool import SpoolState
from services.listener.backlog.spool import Spool
from services.listener.backlog.spools import Spools

PROBE_INTERVAL_SECONDS = 60.0
"""How often the disk is probed while it is not needed."""
FAILED_PROBE_INTERVAL_SECONDS = 2.0
"""How often a disk is probed that accepts no spool: `/readyz` is 503 until it does."""

logger = structlog.get_logger()


class DiskQueue:
    """The spools of one PBX; ``inherited`` are those of earlier processes, ``own`` is ours while there is one.

    ``write_error`` is why the last spilled events were refused, empty if they were not.
    """

    def __init__(self, pbx: str, kind: str, spools: Spools) -> None:
        self.inherited: list[Spool] = []
        self.own: Spool | None = None
        self.write_error = ""
        self._probe_error = ""
        self._pbx = pbx
        self._kind = kind
        self._spools = spools
        self._log = logger.bind(pbx=pbx, kind=kind)

    @property
    def files(self) -> list[Spool]:
        """All spools, oldest first."""
        return [*self.inherited, *([self.own] if self.own else [])]

    @property
    def oldest(self) -> Spool | None:
        """The spool whose events must be appended next."""
        return self.inherited[0] if self.inherited else self.own

    @property
    def is_empty(self) -> bool:
        """Whether no event waits on disk."""
        return not (self.inherited or (self.own and self.own.events))

    @property
    def state(self) -> SpoolState:
        """The number and bytes of the events on disk, the limit, and the disk's error."""
        files = self.files
        error = self.write_error or self._probe_error
        return SpoolState(sum([s.events for s in files]), sum([s.bytes for s in files]), self._spools.limit, error)

    @property
    def is_over_limit(self) -> bool:
        """Whether the spools have as many bytes as they may."""
        return self.state.bytes >= self._spools.limit

    async def open_inherited(self) -> None:
        """Open the spools of earlier processes."""
        self.inherited += await asyncio.to_thread(self._spools.open_inherited, self._pbx, self._kind)
        if self.inherited:
            self._log.warning("spool_taken_up", events=self.state.events, bytes=self.state.bytes)

    def put(self, writer: int, first: int, events: Sequence[NewEvent]) -> None:
        """Add events to our own spool; blocks while the disk works. Raises SpoolFullError."""
        if self.own is None:
            self.own = self._spools.create(self._pbx, self._kind, writer)
            self._log.warning("spooling", file=str(self.own.file))
        self.own.put(first, events)

    def quarantine(self, spool: Spool, error: sqlite3.DatabaseError) -> None:
        """Leave a damaged file, with all its events, for an operator; later events must reach the log."""
        self._spools.quarantine(spool.file, f"{error}; {spool.events} events are left in it")
        spool.close()
        self._forget(spool)

    async def remove(self, spool: Spool) -> None:
        """Close an empty spool, which deletes its file."""
        await asyncio.to_thread(spool.close)
        self._forget(spool)

    def _forget(self, spool: Spool) -> None:
        if spool is self.own:
            self.own = None
        else:
            self.inherited.remove(spool)

    def close(self) -> None:
        """Close all files."""
        if events := self.state.events:
            self._log.warning("events_spooled", events=events, bytes=self.state.bytes)
        for spool in self.files:
            spool.close()
        self.inherited, self.own = [], None

    async def probe(self) -> None:
        """Probe the disk from the start on, so that `state` reports an unusable disk before it is needed."""
        while True:
            probing = asyncio.ensure_future(asyncio.to_thread(self._spools.probe, self._pbx, self._kind))
            try:
                error = await asyncio.shield(probing)
            except asyncio.CancelledError:
                await probing  # it leaves no file behind
                raise
            if error and error != self._probe_error:
                self._log.error("spool_unusable", folder=str(self._spools.folder), error=error)
            elif self._probe_error and not error:
                self._log.info("spool_usable", folder=str(self._spools.folder))
            self._probe_error = error
            await asyncio.sleep(FAILED_PROBE_INTERVAL_SECONDS if error else PROBE_INTERVAL_SECONDS)
