"""The commander's own AMI session: kept up, and asked for when there is something to do."""

import asyncio
import random
import time

import structlog

from schemas.settings import Pbx
from services.ami.protocol import LinkLostError
from services.ami.session import LoginRefusedError, Session

FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 2.0
REFUSED_RETRY_SECONDS = 30.0
STEADY_SECONDS = 10.0

logger = structlog.get_logger()


class CommanderLink:
    """A session without events: what acts cause is heard by the listener."""

    def __init__(self, pbx: Pbx) -> None:
        self._pbx = pbx
        self._session: Session | None = None
        self._up = asyncio.Event()
        self._log = logger.bind(pbx=pbx.name)

    async def run(self) -> None:
        """Keep a session until cancelled."""
        attempt = 0
        while True:
            since = time.monotonic()
            pause = 0.0
            session = self._session = Session(self._pbx, lambda _events: None, lambda _banner: None, events="off")
            try:
                await session.open()
                self._up.set()
                self._log.info("commander_connected")
                await session.keep_alive()
            except LoginRefusedError as error:
                self._log.error("commander_login_refused", user=self._pbx.user, message=str(error))
                pause = REFUSED_RETRY_SECONDS
            except (OSError, TimeoutError, LinkLostError) as error:
                if attempt == 0:
                    self._log.warning("commander_connect_failed", error=repr(error))
            finally:
                self._up.clear()
                session.close()
            attempt = 0 if time.monotonic() - since > STEADY_SECONDS else attempt + 1
            longest = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(attempt, 10))
            await asyncio.sleep(pause or random.uniform(longest / 2, longest))  # noqa: S311 (jitter)

    async def linked(self, seconds: float) -> Session | None:
        """Return the session, None if there is none within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._up.wait()
        except TimeoutError:
            return None
        return self._session

    def close(self) -> None:
        """Drop the link."""
        if self._session is not None:
            self._session.close()
