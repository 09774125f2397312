"""Listens to one PBX for as long as it runs: connect, snapshot, keep alive, reconnect; says so in the log."""

import asyncio
import contextlib
import time

import asyncpg
import structlog

from schemas.log import Connected, Disconnected, LoginRefused, Minute, NewEvent, RingledgerEvent
from schemas.refusals import IN_USE, refused_login
from schemas.settings import Pbx
from services.asterisk.ami import snapshots as snapshot
from services.asterisk.ami.protocol import LedgerProtocol, LinkLostError
from services.asterisk.ami.session import LoginRefusedError, Session
from services.listener.ingest import Ingest
from services.listener.previous_link import read_epoch
from services.log.writer import own_event
from services.runtime.backoff import Backoff
from services.runtime.clock import CLOCK, Clock, FullMinute, current_minute
from services.runtime.tasks import run_until_first

RETRY = Backoff(0.2, 2.0)
REFUSED_RETRY_SECONDS = 30.0
IN_USE_RETRY_SECONDS = 5.0
"""The commander gives way at once. A session whose link was cut ends when Asterisk notices, which may take minutes."""
COMPLAIN_EVERY = 30
MOST_REFUSALS = 100
"""Different words of a refusal of which each is written once; no Asterisk has so many."""
STEADY_SECONDS = 10.0
"""A link that held so long was a good one: the next attempt comes at once."""
PAST_SECONDS = 1.0
"""How long a snapshot waits for the log to say what the last epoch was: the PBX is read in any case."""

logger = structlog.get_logger()


class Listener:
    """One PBX's listener: `run` it."""

    def __init__(self, pbx: Pbx, ingest: Ingest, clock: Clock = CLOCK) -> None:
        self.pbx = pbx
        self._clock = clock
        self.link_up = False
        self._ingest = ingest
        self._ingest.opening = self._before
        self._ingest.backlog.pressed = self._pressed
        self._ingest.went_back = self._went_back
        self._past_known = asyncio.Event()
        self._snapshots = snapshot.Snapshots(self._write, clock)
        self._attempt = 0
        self._refusals: set[str] = set()
        self._session: Session | None = None
        self._ended = [0, 0, 0]
        self._log = logger.bind(pbx=pbx.name)

    @property
    def clock_offset(self) -> float | None:
        """How many seconds the PBX's clock is ahead of ours, None while unknown."""
        return self._session.clock_offset if self._session else None

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop``. Raises what nobody expected, and may be run again then."""
        await run_until_first(self._links(), self._minutes(), stop.wait())

    async def _links(self) -> None:
        while True:
            # The PBX cuts a client that does not read, so there is no use in a link while the log takes no more.
            await self._ingest.backlog.room.wait()
            await asyncio.sleep(await self._link())

    async def _link(self) -> float:
        """Keep one link, from the attempt to its end; return how long to wait before the next (seconds)."""
        reason = "listener stopped"
        since = time.monotonic()
        session = None
        try:
            session = self._session = Session(self.pbx, self._deliver, self._welcomed)
            await session.open()
            self._refusals.clear()
            await self._listen(session)
            reason = session.lost.result()
        except LoginRefusedError as error:
            if str(error) not in self._refusals:
                if len(self._refusals) >= MOST_REFUSALS:
                    self._refusals.clear()
                self._refusals.add(str(error))
                self._write(LoginRefused(self._address(), str(error)))
            self._log.error("login_refused", user=self.pbx.user, message=refused_login(str(error), self.pbx.user))
            return IN_USE_RETRY_SECONDS if str(error) == IN_USE else REFUSED_RETRY_SECONDS
        except (OSError, TimeoutError, LinkLostError) as error:
            reason = f"connection lost: {error!r}"
            if not self.link_up and self._attempt % COMPLAIN_EVERY == 0:
                self._log.warning("connect_failed", attempt=self._attempt + 1, error=repr(error))
        except Exception as error:
            reason = f"listener failed: {error!r}"
            raise
        finally:
            self._session = None
            if session is not None:
                session.close()
                self._end(session, reason)
        steady = time.monotonic() - since > STEADY_SECONDS
        self._attempt = 0 if steady else self._attempt + 1
        return RETRY.pause(self._attempt)

    def _welcomed(self, banner: str) -> None:
        self._write(Connected(self._address(), banner))
        self.link_up = True
        self._log.info("connected", banner=banner)

    def _end(self, session: Session, reason: str) -> None:
        link = session.link
        if link is None:
            return
        self._ended = [past + now for past, now in zip(self._ended, _counts(link), strict=True)]
        if self.link_up:
            self.link_up = False
            self._write(Disconnected(reason, link.heard))
            self._log.warning("disconnected", reason=reason, waiting=self._ingest.waiting)

    async def _listen(self, session: Session) -> None:
        if session.link is not None and not self._ingest.backlog.room.is_set():
            session.link.pause()
        with contextlib.suppress(LinkLostError):
            await run_until_first(asyncio.wait([session.lost]), session.keep_alive(), self._take_snapshots(session))
        if not session.lost.done():
            session.close()
            await session.lost

    async def _take_snapshots(self, session: Session) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PAST_SECONDS):
                await self._past_known.wait()
        await self._snapshots.run(session)

    async def _minutes(self) -> None:
        counted, written = self._so_far(), current_minute(self._clock)
        while True:
            due = FullMinute(self._clock)
            await asyncio.sleep(max(0.0, due.left))
            minute = current_minute(self._clock)
            if minute == written:
                continue  # the clock was set back within the minute
            written = minute
            so_far = self._so_far()
            events, blocks, rejected = (now - then for now, then in zip(so_far, counted, strict=True))
            counted = so_far
            self._write(Minute(minute, "up" if self.link_up else "down", events, blocks, rejected))

    def _so_far(self) -> list[int]:
        link = self._session.link if self._session else None
        now = _counts(link) if link else (0, 0, 0)
        return [past + n for past, n in zip(self._ended, now, strict=True)]

    async def _before(self, connection: asyncpg.Connection) -> None:
        self._snapshots.rise_above(await read_epoch(connection, self.pbx.name))
        self._past_known.set()

    def _went_back(self) -> None:
        """Make the state true by a new link's snapshot; the writer records as a gap what the log has lost."""
        self._ingest.opening = self._before
        if self._session is not None:
            self._session.close()

    def _pressed(self, full: bool) -> None:  # noqa: FBT001
        self._log.warning(
            "reading_paused" if full else "reading_resumed",
            waiting=self._ingest.waiting,
            bytes=self._ingest.backlog.bytes,
        )
        link = self._session.link if self._session else None
        if link is not None:
            if full:
                link.pause()
            else:
                link.resume()

    def _deliver(self, events: list[NewEvent]) -> None:
        self._ingest.backlog.put_all(events)
        if self._session is not None and self._session.link is not None:
            self._session.link.behind = self._ingest.backlog.behind
        for event in events:
            if event.name in snapshot.STIRRING:
                self._snapshots.hear(event)

    def _write(self, event: RingledgerEvent) -> None:
        self._ingest.put(own_event(event))

    def _address(self) -> str:
        return f"{self.pbx.host}:{self.pbx.port}"


def _counts(link: LedgerProtocol) -> tuple[int, int, int]:
    return link.events, link.rejected_blocks, link.rejected_bytes
