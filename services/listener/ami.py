"""The AMI listener of one PBX: connect, take snapshots, keep alive, reconnect, and log each link."""

import asyncio
import contextlib
import time
from typing import Protocol

import asyncpg
import structlog

from schemas.log import Connected, Disconnected, LoginRefused, NewEvent, RingledgerEvent
from schemas.refusals import IN_USE, refused_login
from schemas.settings import Pbx
from services.asterisk.ami import snapshots
from services.asterisk.ami.protocol import LinkLostError
from services.asterisk.ami.session import LoginRefusedError, Session
from services.listener.ingest import Ingest
from services.listener.minutes import Counts, add_counts, counts_of, write_minutes
from services.listener.observer import IngestObserver
from services.listener.snapshot_epoch import read_epoch
from services.log.writer import own_event
from services.runtime.backoff import Backoff
from services.runtime.clock import CLOCK, Clock
from services.runtime.tasks import run_until_first

RETRY = Backoff(0.2, 2.0)
REFUSED_RETRY_SECONDS = 30.0
IN_USE_RETRY_SECONDS = 5.0
"""The commander gives way at once. A session whose link was cut ends when Asterisk notices, which may take minutes."""
WARN_EVERY_ATTEMPTS = 30
MAX_REFUSALS = 100
"""Different texts of refusals, each of which is logged once; no Asterisk has that many."""
STEADY_SECONDS = 10.0
"""A link that lasted so long resets the back-off."""
EPOCH_TIMEOUT_SECONDS = 1.0
"""How long a snapshot waits for the last epoch in the log; the PBX is read in any case."""

logger = structlog.get_logger()


class MakeIngest(Protocol):
    """Creates the ingest of a listener, which observes it."""

    def __call__(self, *, observer: IngestObserver | None = None) -> Ingest:
        """Return a new ingest."""


class Listener(IngestObserver):
    """One PBX's AMI listener: `run` it, and its ``ingest`` beside it."""

    def __init__(self, pbx: Pbx, make_ingest: MakeIngest, clock: Clock = CLOCK) -> None:
        self.pbx = pbx
        self.link_up = False
        self.ingest = make_ingest(observer=self)
        self._clock = clock
        self._epoch_read = asyncio.Event()
        self._snapshots = snapshots.Snapshots(self._write, clock)
        self._failures = 0
        self._refusals: set[str] = set()
        self._session: Session | None = None
        self._earlier_counts: Counts = (0, 0, 0)
        self._log = logger.bind(pbx=pbx.name)

    @property
    def clock_offset(self) -> float | None:
        """How many seconds the PBX's clock is ahead of this machine's, None while unknown."""
        return self._session.clock_offset if self._session else None

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop``. Raises unexpected errors, and may be run again then."""
        minutes = write_minutes(self._clock, self.total_counts, lambda: self.link_up, self._write)
        await run_until_first(self._keep_links(), minutes, stop.wait())

    async def _keep_links(self) -> None:
        while True:
            # Asterisk disconnects a client that does not read, so a link is useless while the backlog is full.
            await self.ingest.backlog.has_room.wait()
            await asyncio.sleep(await self._link())

    async def _link(self) -> float:
        """Run one link from the attempt to its end; return how long to wait before the next (seconds)."""
        reason = "listener stopped"
        since = time.monotonic()
        session = None
        try:
            session = self._session = Session(self.pbx, self._deliver, self._on_login)
            await session.open()
            self._refusals.clear()
            await self._listen(session)
            reason = session.lost.result()
        except LoginRefusedError as error:
            self._write_refusal(str(error))
            return IN_USE_RETRY_SECONDS if str(error) == IN_USE else REFUSED_RETRY_SECONDS
        except (OSError, TimeoutError, LinkLostError) as error:
            reason = f"connection lost: {error!r}"
            if not self.link_up and self._failures % WARN_EVERY_ATTEMPTS == 0:
                self._log.warning("connect_failed", attempt=self._failures + 1, error=repr(error))
        except Exception as error:
            reason = f"listener failed: {error!r}"
            raise
        finally:
            self._session = None
            if session is not None:
                session.close()
                self._write_end(session, reason)
        is_steady = time.monotonic() - since > STEADY_SECONDS
        self._failures = 0 if is_steady else self._failures + 1
        return RETRY.pause(self._failures)

    def _on_login(self, banner: str) -> None:
        self._write(Connected(self._address(), banner))
        self.link_up = True
        self._log.info("connected", banner=banner)

    def _write_refusal(self, message: str) -> None:
        if message not in self._refusals:
            if len(self._refusals) >= MAX_REFUSALS:
                self._refusals.clear()
            self._refusals.add(message)
            self._write(LoginRefused(self._address(), message))
        self._log.error("login_refused", user=self.pbx.user, message=refused_login(message, self.pbx.user))

    def _write_end(self, session: Session, reason: str) -> None:
        link = session.link
        if link is None:
            return
        self._earlier_counts = add_counts(self._earlier_counts, counts_of(link))
        if self.link_up:
            self.link_up = False
            self._write(Disconnected(reason, link.received_at))
            self._log.warning("disconnected", reason=reason, waiting=self.ingest.waiting)

    async def _listen(self, session: Session) -> None:
        if session.link is not None and not self.ingest.backlog.has_room.is_set():
            session.link.pause()
        with contextlib.suppress(LinkLostError):
            await run_until_first(asyncio.wait([session.lost]), session.keep_alive(), self._take_snapshots(session))
        if not session.lost.done():
            session.close()
            await session.lost

    async def _take_snapshots(self, session: Session) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EPOCH_TIMEOUT_SECONDS):
                await self._epoch_read.wait()
        await self._snapshots.run(session)

    def total_counts(self) -> Counts:
        """Return the counts of all links so far."""
        return add_counts(self._earlier_counts, counts_of(self._session.link if self._session else None))

    async def before_first_append(self, connection: asyncpg.Connection) -> None:
        """Read the epoch of an earlier listener."""
        self._snapshots.rise_above(await read_epoch(connection, self.pbx.name))
        self._epoch_read.set()

    def on_log_rewound(self) -> None:
        """Drop the link: the snapshot of a new one corrects the state, and the writer records the loss as a gap."""
        if self._session is not None:
            self._session.close()

    def on_full_change(self, is_full: bool) -> None:  # noqa: FBT001
        """Pause or resume reading."""
        backlog = self.ingest.backlog
        self._log.warning(
            "reading_paused" if is_full else "reading_resumed", waiting=self.ingest.waiting, bytes=backlog.memory.bytes
        )
        link = self._session.link if self._session else None
        if link is not None:
            if is_full:
                link.pause()
            else:
                link.resume()

    def _deliver(self, events: list[NewEvent]) -> None:
        backlog = self.ingest.backlog
        backlog.put_all(events)
        if self._session is not None and self._session.link is not None:
            self._session.link.is_behind = backlog.is_behind
        for event in events:
            if event.name in snapshots.TRIGGERS:
                self._snapshots.trigger(event)

    def _write(self, event: RingledgerEvent) -> None:
        self.ingest.put(own_event(event))

    def _address(self) -> str:
        return f"{self.pbx.host}:{self.pbx.port}"
