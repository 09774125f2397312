"""The schedule of snapshots and details, which correct the state that events alone would leave.

The frequent lists are requested once a minute. The rare ones are requested at connect, every five minutes and after a
reload. Objects that a list names are requested in detail, one at a time, whenever no list is due. Details are no part
of a snapshot and delete nothing.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable

import structlog

from schemas.log import NewEvent, RingledgerEvent
from services.asterisk.ami.lists import FREQUENT, MAX_DETAILS, RARE, Detail, outcome_of, take_snapshot
from services.asterisk.ami.pending_action import drop_item
from services.asterisk.ami.session import Session
from services.runtime.clock import CLOCK, Clock, FullMinute

BOOT_SECONDS = 2.0
MAX_BOOT_SECONDS = 600.0
"""How long after a login to wait for FullyBooted, where the account received one before."""
SETTLE_SECONDS = 1.0
RARE_INTERVAL_SECONDS = 300.0
DETAIL_INTERVAL_SECONDS = 3600.0

TRIGGERS = frozenset({"FullyBooted", "Reload", "Load", "Unload", "ContactStatus"})
"""Events after which something may have changed that no event reports; see `Snapshots.trigger`."""

NEW_CONTACT = re.compile(rb"\r\nContactStatus: (?:NonQualified|Created)\r\n")
ENDPOINT = re.compile(rb"\r\nEndpointName: ([^\r\n]{1,200})\r\n")
MANAGER = re.compile(rb"(?i)\r\nModule: (?:manager(?:\.so)?|all)\r\n")
"""Reloads of manager.conf: loader.c reports the module name of the request, or All."""

logger = structlog.get_logger()


class Snapshots:
    """The snapshots of one PBX. ``write`` puts our own events into the log, in order with the answers."""

    def __init__(self, write: Callable[[RingledgerEvent], None], clock: Clock = CLOCK) -> None:
        self._write = write
        self._clock = clock
        self._receives_boots = False
        self._epoch = int(clock.now())  # an earlier listener may have used this very second
        self._wake = asyncio.Event()
        self._reset()

    def _reset(self) -> None:
        self._wake.clear()
        self._is_triggered = self._is_booted = False
        self._rare_due = self._details_due = self._since = 0.0
        self._details: dict[Detail, None] = {}
        self._requested: set[Detail] = set()
        self._requests = 0
        self._refused: dict[str, str] = {}
        self._manager_reloaded = False

    def rise_above(self, epoch: int) -> None:
        """Use only epochs above that of an earlier listener, even if the clock is behind."""
        self._epoch = max(self._epoch, epoch)

    def trigger(self, event: NewEvent) -> None:
        """Handle an event of `TRIGGERS`: a snapshot becomes due, or for a new contact the details of its endpoint."""
        if event.name == "ContactStatus":
            endpoint = ENDPOINT.search(event.raw)
            if not endpoint or not NEW_CONTACT.search(event.raw):
                return
            if len(self._details) < MAX_DETAILS:
                self._details[Detail("PJSIPShowEndpoint", "Endpoint", endpoint[1].decode("utf-8", "replace"))] = None
        else:
            self._is_triggered = True
            self._is_booted |= event.name == "FullyBooted"
            self._receives_boots |= self._is_booted
            if event.name == "FullyBooted" or b"pjsip" in event.raw:
                self._details_due = 0.0
            self._manager_reloaded |= event.name == "Reload" and MANAGER.search(event.raw) is not None
        self._wake.set()

    async def run(self, session: Session) -> None:
        """Take snapshots over one session. Raises LinkLostError if the link is lost.

        A session keeps the classes of its login. So it ends after a reload of manager.conf if lists are refused.
        """
        self._since = self._clock.monotonic()
        try:
            await self._rest(BOOT_SECONDS)  # an account without the system privilege never receives FullyBooted
            while not (self._refused and self._manager_reloaded):
                due = FullMinute(self._clock)
                await self._take(session)
                self._manager_reloaded = self._manager_reloaded and bool(self._refused)
                while not self._is_triggered and due.left > 0:
                    self._wake.clear()
                    if self._details:
                        await self._request_detail(session)
                    else:
                        await self._rest(due.left)
                if self._is_triggered:
                    await asyncio.sleep(SETTLE_SECONDS)  # a reload of all modules sends one event for each
            session.drop("manager.conf was reloaded while lists were refused: a new login has its new classes")
        finally:
            self._reset()

    async def _take(self, session: Session) -> None:
        now = self._clock.monotonic()
        is_rare_due = self._is_triggered or now >= self._rare_due
        self._is_triggered = False
        if now >= self._details_due:
            self._requested.clear()
            self._details_due = now + DETAIL_INTERVAL_SECONDS
        if is_rare_due:
            self._rare_due = now + RARE_INTERVAL_SECONDS
        self._epoch = max(int(self._clock.now()), self._epoch + 1)
        actions = FREQUENT + RARE if is_rare_due else FREQUENT
        is_booting = self._receives_boots and not self._is_booted and now - self._since < MAX_BOOT_SECONDS
        details, refused = await take_snapshot(
            session, self._epoch, actions, self._write, is_booted=self._is_booted, is_booting=is_booting
        )
        earlier = {action: message for action, message in self._refused.items() if action not in actions}
        if refused.keys() - self._refused.keys():
            logger.warning("lists_refused", pbx=session.pbx.name, user=session.pbx.user, lists=refused)
        self._refused = earlier | refused
        if len(self._requested) > MAX_DETAILS:
            self._requested.clear()
        new = [detail for detail in details if detail not in self._requested][: MAX_DETAILS - len(self._details)]
        self._details |= dict.fromkeys(new)
        self._requested.update(new)

    async def _request_detail(self, session: Session) -> None:
        detail = next(iter(self._details))
        del self._details[detail]
        self._requests += 1
        # ModuleCheck's reply does not name the module, so the ActionID does.
        last = detail.name if detail.action == "ModuleCheck" else self._requests
        action_id = f"ringledger/{self._epoch}/{detail.action}/{last}"
        try:
            answer = await session.request(detail.action, action_id, drop_item, **{detail.header: detail.name})
        except TimeoutError:
            logger.warning("no_answer", pbx=session.pbx.name, action=detail.action, name=detail.name)
            return
        if outcome_of(answer, is_booted=False) in {"refused", "unsupported"}:
            self._details = {other: None for other in self._details if other.action != detail.action}

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
