"""Listens to one PBX for as long as it runs: connect, snapshot, keep alive, reconnect; says so in the log."""

import asyncio
import contextlib
import random
import time
from typing import Any

import msgspec
import structlog

from schemas.log import Connected, Disconnected, LoginRefused, Minute, Ours, Received
from schemas.settings import Pbx
from services.ami import snapshot
from services.ami.protocol import LinkLostError
from services.ami.session import LoginRefusedError, Session
from services.ingest import Ingest

FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 3.0
REFUSED_RETRY_SECONDS = 30.0

logger = structlog.get_logger()


class Listener:
    """One PBX's listener; `run` ends soon after `stop`."""

    def __init__(self, pbx: Pbx, ingest: Ingest) -> None:
        self.pbx = pbx
        self.link_up = False
        self._ingest = ingest
        self._stop = asyncio.Event()
        self._snapshots = snapshot.Snapshots(self._write)
        self._session: Session | None = None
        self._log = logger.bind(pbx=pbx.name)

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stop.set()

    async def run(self) -> None:
        """Listen until stopped."""
        minutes = asyncio.create_task(self._minutes())
        attempt = 0
        refused = ""
        try:
            while not self._stop.is_set():
                session = Session(self.pbx, self._deliver)
                try:
                    await session.open()
                except LoginRefusedError as error:
                    if str(error) != refused:
                        refused = str(error)
                        self._write(LoginRefused(self._address(), refused))
                    self._log.error("login_refused", user=self.pbx.user, message=refused)
                    session.close()
                    await self._pause(REFUSED_RETRY_SECONDS)
                    continue
                except (OSError, TimeoutError, LinkLostError) as error:
                    session.close()
                    attempt += 1
                    self._log.warning("connect_failed", attempt=attempt, error=repr(error))
                    longest = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(attempt, 10))
                    await self._pause(random.uniform(longest / 2, longest))  # noqa: S311 (jitter)
                    continue
                attempt, refused = 0, ""
                await self._listen(session)
        finally:
            minutes.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await minutes

    async def _listen(self, session: Session) -> None:
        self._write(Connected(self._address(), session.link.banner or ""))
        self._log.info("connected", banner=session.link.banner)
        self._session = session
        self.link_up = True
        alive = asyncio.create_task(session.keep_alive())
        snapshots = asyncio.create_task(self._snapshots.run(session))
        stopped = asyncio.create_task(self._stop.wait())
        ends: list[asyncio.Future[Any]] = [session.lost, stopped]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        reason = session.lost.result() if session.lost.done() else "listener stopped"
        self.link_up = False
        self._session = None
        session.close()
        for task in (alive, snapshots, stopped):
            task.cancel()
        for result in await asyncio.gather(alive, snapshots, stopped, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, LinkLostError):
                self._log.error("link_task_failed", error=repr(result))
        self._write(Disconnected(reason, session.link.heard))
        self._log.warning("disconnected", reason=reason)

    async def _minutes(self) -> None:
        events = 0
        while True:
            await asyncio.sleep(60 - time.time() % 60)
            link = self._session.link if self._session else None
            seen = link.events if link else 0
            self._write(
                Minute(
                    int(time.time()) // 60 * 60,
                    "up" if self.link_up else "down",
                    seen - events if seen >= events else seen,
                    link.rejected_blocks if link else 0,
                    link.rejected_bytes if link else 0,
                ),
            )
            events = seen

    def _deliver(self, event: Received) -> None:
        self._ingest.put(event)
        if event.name in snapshot.STIRRING:
            self._snapshots.hear(event)

    def _write(self, event: Ours) -> None:
        now = time.time()
        self._ingest.put(Received("ringledger", type(event).__name__, now, now, msgspec.json.encode(event)))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    def _address(self) -> str:
        return f"{self.pbx.host}:{self.pbx.port}"
