"""The commander's own AMI session: it is up while the listener has its link."""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator

import structlog

from schemas.refusals import IN_USE, refused_login
from schemas.settings import Pbx
from services.asterisk.ami.protocol import LinkLostError
from services.asterisk.ami.session import LoginRefusedError, Session
from services.log.listener_link import ListenerLink
from services.runtime.backoff import Backoff

RETRY = Backoff(0.2, 2.0)
REFUSED_RETRY_SECONDS = 30.0
STEADY_SECONDS = 10.0
NO_LISTENER_SECONDS = 1.0
"""How long a listener that starts together with the commander may take to announce itself."""

NO_LISTENER_LINK = "the listener has no link to it"
ONE_SESSION = (
    f"{IN_USE}: manager.conf allows this user one session (allowmultiplelogin = no), which the listener needs; allow"
    " more, or give acts a user of their own (RINGLEDGER_AMI_COMMAND)"
)

logger = structlog.get_logger()


class CommanderLink:
    """A session without events: the listener receives the events that acts cause.

    ``trouble`` is the reason of a missing session that an operator can remove. ``setting`` is the name of the setting
    with the AMI user.
    """

    def __init__(self, pbx: Pbx, setting: str = "RINGLEDGER_AMI") -> None:
        self.trouble = ""
        self._pbx = pbx
        self._setting = setting
        self._session: Session | None = None
        self._up = asyncio.Event()
        self._may_log_in = asyncio.Event()
        self._no_listener_since: float | None = None
        self._opened_at = 0.0
        self._outdated_at = -math.inf
        self._holds = 0
        self._log = logger.bind(pbx=pbx.name)

    @property
    def is_up(self) -> bool:
        """Whether there is a session."""
        return self._up.is_set()

    def follow(self, listener: ListenerLink) -> None:
        """Log in while the listener has its link or there is no listener; give way if Asterisk refuses the listener.

        An open session stays while the listener's link is only lost.
        """
        now = time.monotonic()
        self._no_listener_since = None if listener != "none" else self._no_listener_since or now
        has_no_listener = self._no_listener_since is not None and now - self._no_listener_since >= NO_LISTENER_SECONDS
        if listener == "up" or has_no_listener:
            self._may_log_in.set()
            return
        self.pause()
        if listener == "refused" and self._session is not None and self._up.is_set():
            self._log.warning("commander_gives_way", user=self._pbx.user)
            self._session.drop("the listener was refused, and comes first")

    def pause(self) -> None:
        """Do not log in until `follow` allows it, because the listener's state is unknown."""
        self._may_log_in.clear()

    async def run(self) -> None:
        """Keep a session open until cancelled."""
        failures = 0
        while True:
            if not self._may_log_in.is_set():
                self.trouble = self.trouble or NO_LISTENER_LINK
                await self._may_log_in.wait()
                self.trouble = "" if self.trouble == NO_LISTENER_LINK else self.trouble
            since = self._opened_at = time.monotonic()
            pause = 0.0
            session = self._session = Session(self._pbx, lambda _events: None, lambda _banner: None, events="off")
            try:
                await session.open()
                self._up.set()
                self.trouble = ""
                self._log.info("commander_connected")
                await session.keep_alive()
            except LoginRefusedError as error:
                self.trouble = ONE_SESSION if str(error) == IN_USE else self._refusal(str(error))
                self._log.error("commander_login_refused", user=self._pbx.user, message=self.trouble)
                pause = REFUSED_RETRY_SECONDS
            except (OSError, TimeoutError, LinkLostError) as error:
                self.trouble = ""
                if failures == 0:
                    self._log.warning("commander_connect_failed", error=repr(error))
            finally:
                self._up.clear()
                session.close()
            is_steady = time.monotonic() - since > STEADY_SECONDS
            failures = 0 if is_steady else failures + 1
            await asyncio.sleep(pause or RETRY.pause(failures))

    def outdate(self, seconds: float = 0.0) -> None:
        """Let `retire` end a session that is more than ``seconds`` old, because it keeps the classes of its login."""
        self._outdated_at = max(self._outdated_at, time.monotonic() - seconds)

    def retire(self) -> None:
        """End an outdated session unless it is in use; the next login has the present classes."""
        session = self._session
        if session is None or not self._up.is_set() or self._opened_at > self._outdated_at:
            return
        if self._holds == 0 and session.is_idle:
            self._up.clear()  # at once, so that nothing more is sent on it
            self._log.info("commander_logs_in_again", user=self._pbx.user)
            session.drop("its classes are those of an older manager.conf")

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the session from being retired between the log's event about an action and the action itself."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    def _refusal(self, message: str) -> str:
        return refused_login(message, self._pbx.user, self._setting)

    async def session(self, seconds: float) -> Session | None:
        """Return the session, None without one within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while not self._up.is_set():
                    await self._up.wait()
        except TimeoutError:
            return None
        return self._session

    def close(self) -> None:
        """Drop the link."""
        if self._session is not None:
            self._session.close()
