"""What makes the state true again: list actions, whose answers enter the log in wire order like everything else.

The quick lists are asked for once a minute; the slow ones, which tell of configuration, at connect, every five minutes
and after a reload. What these name is asked for in detail, one object at a time, whenever no list is due: details are
no part of a snapshot and sweep nothing. Asterisk answers and sends events from one thread per session, so an answer is
never older than an event that came before it.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

import structlog
from panoramisk.message import Message

from schemas.log import NewEvent, RingledgerEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from schemas.refusals import DENIED
from services.asterisk.ami.question import drop_item
from services.asterisk.ami.session import Session
from services.runtime.clock import CLOCK, Clock, FullMinute

QUICK: tuple[str, ...] = (
    "CoreStatus",
    "CoreShowChannels",
    "QueueStatus",
    "Agents",
    "ParkedCalls",
    "Parkinglots",
    "DeviceStateList",
)
SLOW: tuple[str, ...] = (
    "CoreSettings",
    "PJSIPShowEndpoints",
    "PJSIPShowContacts",
    "PJSIPShowAors",
    "PJSIPShowAuths",
    "PJSIPShowRegistrationsOutbound",
    "SIPpeers",
    "SIPshowregistry",
    "IAXpeerlist",  # IAXpeers lists the same without our ActionID
    "IAXregistry",
    "Command",
)
COMMAND = {"Command": "module show"}

MODULES = """
app_agent_pool app_confbridge app_dial app_directed_pickup app_mixmonitor app_originate app_page app_playback app_queue
app_read app_stack app_transfer app_voicemail bridge_native_rtp bridge_simple bridge_softmix cdr_csv cdr_custom
cdr_manager cel_custom cel_manager chan_bridge_media chan_dahdi chan_iax2 chan_pjsip chan_sip chan_websocket codec_alaw
codec_g722 codec_gsm codec_opus codec_ulaw format_gsm format_pcm format_wav func_cdr func_channel func_odbc pbx_ael
pbx_config pbx_lua pbx_realtime pbx_spool res_agi res_ari res_ari_channels res_config_odbc res_config_pgsql res_crypto
res_fax res_http_websocket res_musiconhold res_odbc res_parking res_pjsip res_pjsip_outbound_registration
res_pjsip_registrar res_pjsip_session res_rtp_asterisk res_sorcery_astdb res_stasis res_timing_timerfd res_xmpp
"""
"""Asked for by ModuleCheck, one by one, where the account may not list them all."""

MOST_DETAILS = 20_000
"""Objects whose details wait to be asked for: more than the largest PBX has endpoints, and 10 MB of memory."""
LONGEST_NAME = 200
LONGEST_MESSAGE = 500

BOOT_SECONDS = 2.0
LONGEST_BOOT_SECONDS = 600.0
"""How long after a login FullyBooted is waited for, where the account was sent one before."""
SETTLE_SECONDS = 1.0
SLOW_SECONDS = 300.0
DETAIL_SECONDS = 3600.0

STIRRING = frozenset({"FullyBooted", "Reload", "Load", "Unload", "ContactStatus"})
"""Events after which something may have changed of which no event tells; see `Snapshots.hear`."""

NEW_CONTACT = re.compile(rb"\r\nContactStatus: (?:NonQualified|Created)\r\n")
ENDPOINT = re.compile(rb"\r\nEndpointName: ([^\r\n]{1,200})\r\n")
MANAGER = re.compile(rb"(?i)\r\nModule: (?:manager(?:\.so)?|all)\r\n")
"""Reloads of manager.conf: loader.c names the module as it was asked for, or All."""

Outcome = Literal["complete", "empty", "refused", "unsupported", "failed"]

logger = structlog.get_logger()


class Detail(NamedTuple):
    """One object to ask for: ``action`` with ``header: name``."""

    action: str
    header: str
    name: str


class Result(NamedTuple):
    """A snapshot's result: the objects that it names, and the lists that Asterisk refused, with its words."""

    details: list[Detail]
    refused: dict[str, str]


class Snapshots:
    """When to ask one PBX for what. ``write`` puts events of ours into the log, in order with the answers."""

    def __init__(self, write: Callable[[RingledgerEvent], None], clock: Clock = CLOCK) -> None:
        self._write = write
        self._clock = clock
        self._receives_boots = False
        self._epoch = int(clock.now())  # an earlier listener's last one may be of this very second
        self._wake = asyncio.Event()
        self._forget()

    def _forget(self) -> None:
        self._wake.clear()
        self._stirred = self._booted = False
        self._slow_at = self._details_at = self._since = 0.0
        self._wanted: dict[Detail, None] = {}
        self._known: set[Detail] = set()
        self._asked = 0
        self._refused: dict[str, str] = {}
        self._manager_reloaded = False

    def rise_above(self, epoch: int) -> None:
        """Take the last epoch of an earlier listener: ours are greater, whatever the clock says."""
        self._epoch = max(self._epoch, epoch)

    def hear(self, event: NewEvent) -> None:
        """Take an event of `STIRRING`: a snapshot is due, or, for a new contact, what no event tells about it."""
        if event.name == "ContactStatus":
            endpoint = ENDPOINT.search(event.raw)
            if not endpoint or not NEW_CONTACT.search(event.raw):
                return
            if len(self._wanted) < MOST_DETAILS:
                self._wanted[Detail("PJSIPShowEndpoint", "Endpoint", endpoint[1].decode("utf-8", "replace"))] = None
        else:
            self._stirred = True
            self._booted |= event.name == "FullyBooted"
            self._receives_boots |= self._booted
            if event.name == "FullyBooted" or b"pjsip" in event.raw:
                self._details_at = 0.0
            self._manager_reloaded |= event.name == "Reload" and MANAGER.search(event.raw) is not None
        self._wake.set()

    async def run(self, session: Session) -> None:
        """Keep the state of one session's PBX true. Raises LinkLostError when the link goes.

        A session keeps the classes of its login. It ends after a reload of manager.conf if lists are refused.
        """
        self._since = self._clock.monotonic()
        try:
            await self._rest(BOOT_SECONDS)  # an account without the system privilege never hears FullyBooted
            while not (self._refused and self._manager_reloaded):
                due = FullMinute(self._clock)
                await self._lists(session)
                self._manager_reloaded = self._manager_reloaded and bool(self._refused)
                while not self._stirred and due.left > 0:
                    self._wake.clear()
                    if self._wanted:
                        await self._detail(session)
                    else:
                        await self._rest(due.left)
                if self._stirred:
                    await asyncio.sleep(SETTLE_SECONDS)  # a reload of all says so module by module
            session.drop("manager.conf was reloaded while lists were refused: a new login has its new classes")
        finally:
            self._forget()

    async def _lists(self, session: Session) -> None:
        now = self._clock.monotonic()
        slow = self._stirred or now >= self._slow_at
        self._stirred = False
        if now >= self._details_at:
            self._known.clear()
            self._details_at = now + DETAIL_SECONDS
        if slow:
            self._slow_at = now + SLOW_SECONDS
        self._epoch = max(int(self._clock.now()), self._epoch + 1)
        actions = QUICK + SLOW if slow else QUICK
        is_booting = self._receives_boots and not self._booted and now - self._since < LONGEST_BOOT_SECONDS
        details, refused = await take(
            session, self._epoch, actions, self._write, booted=self._booted, booting=is_booting
        )
        earlier = {action: words for action, words in self._refused.items() if action not in actions}
        if refused.keys() - self._refused.keys():
            logger.warning("lists_refused", pbx=session.pbx.name, user=session.pbx.user, lists=refused)
        self._refused = earlier | refused
        if len(self._known) > MOST_DETAILS:
            self._known.clear()
        new = [detail for detail in details if detail not in self._known][: MOST_DETAILS - len(self._wanted)]
        self._wanted |= dict.fromkeys(new)
        self._known.update(new)

    async def _detail(self, session: Session) -> None:
        detail = next(iter(self._wanted))
        del self._wanted[detail]
        self._asked += 1
        # ModuleCheck's reply does not name the module, so the ActionID does.
        last = detail.name if detail.action == "ModuleCheck" else self._asked
        action_id = f"ringledger/{self._epoch}/{detail.action}/{last}"
        try:
            answer = await session.ask(detail.action, action_id, drop_item, **{detail.header: detail.name})
        except TimeoutError:
            logger.warning("no_answer", pbx=session.pbx.name, action=detail.action, name=detail.name)
            return
        if outcome_of(answer, booted=False) in {"refused", "unsupported"}:
            self._wanted = {other: None for other in self._wanted if other.action != detail.action}

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()


async def take(
    session: Session,
    epoch: int,
    actions: tuple[str, ...],
    write: Callable[[RingledgerEvent], None],
    *,
    booted: bool,
    booting: bool = False,
) -> Result:
    """Ask for every list, and return what they name that can be asked for in detail. No item of a list is kept.

    ``booted``: all modules are loaded, so an action that is unknown has nothing to list (its module is not there).
    ``booting``: its module may still be loaded, so its list is not answered yet: manager.c lets clients in before.

    Raises LinkLostError when the link goes; the snapshot is then never completed and nothing is concluded from it.
    """
    write(SnapshotStarted(epoch))
    failed: list[str] = []
    refused: dict[str, str] = {}
    details: list[Detail] = []
    for action in actions:
        outcome: Outcome
        instead, objects = "", Objects()
        try:
            if action == "Command":
                answer = await session.ask(action, f"ringledger/{epoch}/{action}/modules", drop_item, **COMMAND)
            else:
                item = objects.take if action == "PJSIPShowEndpoints" else drop_item
                answer = await session.ask(action, f"ringledger/{epoch}/{action}", item)
            outcome, message = outcome_of(answer, booted=booted), _said(answer)
            if action == "Command" and outcome in {"refused", "unsupported"}:
                instead, modules = await _modules(session, epoch)
                details += modules
            if outcome == "unsupported" and booting:
                outcome = "failed"
        except TimeoutError as error:
            outcome, message = "failed", str(error) or "no answer"
        if outcome == "complete":
            details += objects.details
        elif outcome == "failed":
            failed.append(action)
        elif outcome == "refused" and not instead:
            refused[action] = message
        write(SnapshotListed(epoch, action, outcome, message, instead))
    write(SnapshotCompleted(epoch, tuple(failed)))
    return Result(details, refused)


class Objects:
    """The endpoints that PJSIPShowEndpoints names, as many as can be asked for in detail."""

    def __init__(self) -> None:
        self.details: list[Detail] = []

    def take(self, item: Message) -> None:
        """Take one item of the list."""
        name = str(item.objectname)
        if 0 < len(name) <= LONGEST_NAME and len(self.details) < MOST_DETAILS:
            self.details.append(Detail("PJSIPShowEndpoint", "Endpoint", name))
            if len(self.details) == MOST_DETAILS:
                logger.warning("details_cut", action="PJSIPShowEndpoints", objects=MOST_DETAILS)


async def _modules(session: Session, epoch: int) -> tuple[str, list[Detail]]:
    """Ask for the first module, and return the action to use instead of `COMMAND` with the other modules.

    Both are empty if the account may not ask that either.
    """
    first, *others = MODULES.split()
    answer = await session.ask("ModuleCheck", f"ringledger/{epoch}/ModuleCheck/{first}", drop_item, Module=first)
    if outcome_of(answer, booted=False) in {"refused", "unsupported"}:
        return "", []
    return "ModuleCheck", [Detail("ModuleCheck", "Module", module) for module in others]


def outcome_of(answer: list[Message], *, booted: bool) -> Outcome:
    """Say what an answer means: Asterisk reports an empty list as an error in words ("No Contacts found").

    Once it is ``booted``, an unknown action means that the module is gone, and its objects with it.
    """
    if answer[0].success:
        return "complete" if answer[-1].eventlist.lower() != "cancelled" else "failed"
    said = _said(answer).lower()
    if said.startswith("no ") and not said.startswith("no such "):
        return "empty"
    if "invalid/unknown command" in said:
        return "empty" if booted else "unsupported"
    if DENIED.lower() in said:
        return "refused"
    return "failed"


def _said(answer: list[Message]) -> str:
    return str(answer[0].message).strip()[:LONGEST_MESSAGE]  # PJSIPShow... end theirs with a line feed
