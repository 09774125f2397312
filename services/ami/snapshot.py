"""What makes the state true again: list actions, whose answers enter the log in wire order like everything else.

The quick lists are asked for once a minute; the slow ones, which tell of configuration, at connect, every five minutes
and after a reload. What these name is asked for in detail, one object at a time, whenever no list is due: details are
no part of a snapshot and sweep nothing. Asterisk answers and sends events from one thread per session, so an answer is
never older than an event that came before it.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import structlog
from panoramisk.message import Message

from schemas.log import Ours, Received, SnapshotCompleted, SnapshotListed, SnapshotStarted
from services.ami.session import Session

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

BOOT_SECONDS = 2.0
SETTLE_SECONDS = 1.0
SLOW_SECONDS = 300.0
DETAIL_SECONDS = 3600.0

STIRRING = frozenset({"FullyBooted", "Reload", "Load", "Unload", "ContactStatus"})
"""Events after which something may have changed of which no event tells; see `Snapshots.hear`."""

NEW_CONTACT = re.compile(rb"\r\nContactStatus: (?:NonQualified|Created)\r\n")
ENDPOINT = re.compile(rb"\r\nEndpointName: ([^\r\n]+)")

Outcome = Literal["complete", "empty", "unsupported", "failed"]

logger = structlog.get_logger()


class Detail(NamedTuple):
    """One object to ask for: ``action`` with ``header: name``."""

    action: str
    header: str
    name: str


class Snapshots:
    """When to ask one PBX for what. ``write`` puts events of ours into the log, in order with the answers."""

    def __init__(self, write: Callable[[Ours], None]) -> None:
        self._write = write
        self._epoch = int(time.time())  # an earlier listener's last one may be of this very second
        self._wake = asyncio.Event()
        self._forget()

    def _forget(self) -> None:
        self._wake.clear()
        self._stirred = self._booted = False
        self._slow_at = self._details_at = 0.0
        self._wanted: dict[Detail, None] = {}
        self._known: set[Detail] = set()
        self._asked = 0

    def rise_above(self, epoch: int) -> None:
        """Take the last epoch of an earlier listener: ours are greater, whatever the clock says."""
        self._epoch = max(self._epoch, epoch)

    def hear(self, event: Received) -> None:
        """Take an event of `STIRRING`: a snapshot is due, or, for a new contact, what no event tells about it."""
        if event.name == "ContactStatus":
            endpoint = ENDPOINT.search(event.raw)
            if not endpoint or not NEW_CONTACT.search(event.raw):
                return
            self._wanted[Detail("PJSIPShowEndpoint", "Endpoint", endpoint[1].decode("utf-8", "replace"))] = None
        else:
            self._stirred = True
            self._booted |= event.name == "FullyBooted"
            if event.name == "FullyBooted" or b"pjsip" in event.raw:
                self._details_at = 0.0
        self._wake.set()

    async def run(self, session: Session) -> None:
        """Keep the state of one session's PBX true. Raises LinkLostError when the link goes."""
        try:
            await self._rest(BOOT_SECONDS)  # an account without the system privilege never hears FullyBooted
            while True:
                due = time.time() // 60 * 60 + 60
                await self._lists(session)
                while not self._stirred and time.time() < due:
                    self._wake.clear()
                    if self._wanted:
                        await self._detail(session)
                    else:
                        await self._rest(due - time.time())
                if self._stirred:
                    await asyncio.sleep(SETTLE_SECONDS)  # a reload of all says so module by module
        finally:
            self._forget()

    async def _lists(self, session: Session) -> None:
        now = time.monotonic()
        slow = self._stirred or now >= self._slow_at
        self._stirred = False
        if now >= self._details_at:
            self._known.clear()
            self._details_at = now + DETAIL_SECONDS
        if slow:
            self._slow_at = now + SLOW_SECONDS
        self._epoch = next_epoch(self._epoch)
        actions = QUICK + SLOW if slow else QUICK
        details = await take(session, self._epoch, actions, self._write, booted=self._booted)
        self._wanted |= dict.fromkeys(detail for detail in details if detail not in self._known)
        self._known.update(details)

    async def _detail(self, session: Session) -> None:
        detail = next(iter(self._wanted))
        del self._wanted[detail]
        self._asked += 1
        # ModuleCheck's reply does not name the module, so the ActionID does.
        last = detail.name if detail.action == "ModuleCheck" else self._asked
        try:
            answer = await session.ask(
                detail.action, f"ringledger/{self._epoch}/{detail.action}/{last}", **{detail.header: detail.name}
            )
        except TimeoutError:
            logger.warning("no_answer", pbx=session.pbx.name, action=detail.action, name=detail.name)
            return
        if outcome_of(answer, booted=False) == "unsupported":
            self._wanted = {other: None for other in self._wanted if other.action != detail.action}

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()


async def take(
    session: Session, epoch: int, actions: tuple[str, ...], write: Callable[[Ours], None], *, booted: bool
) -> list[Detail]:
    """Ask for every list, and return what they name that can be asked for in detail.

    ``booted``: all modules are loaded, so an action that is unknown has nothing to list (its module is not there).

    Raises LinkLostError when the link goes; the snapshot is then never completed and nothing is concluded from it.
    """
    write(SnapshotStarted(epoch))
    failed: list[str] = []
    details: list[Detail] = []
    for action in actions:
        outcome: Outcome
        try:
            if action == "Command":
                answer = await session.ask(action, f"ringledger/{epoch}/{action}/modules", **COMMAND)
            else:
                answer = await session.ask(action, f"ringledger/{epoch}/{action}")
        except TimeoutError:
            outcome, message = "failed", "no answer"
        else:
            outcome, message = outcome_of(answer, booted=booted), _said(answer)
            details += _details(action, outcome, answer)
        if outcome == "failed":
            failed.append(action)
        write(SnapshotListed(epoch, action, outcome, message))
    write(SnapshotCompleted(epoch, tuple(failed)))
    return details


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
    if "permission denied" in said:
        return "unsupported"
    return "failed"


def _said(answer: list[Message]) -> str:
    return str(answer[0].message).strip()  # PJSIPShow... end theirs with a line feed


def _details(action: str, outcome: Outcome, answer: list[Message]) -> list[Detail]:
    if action == "PJSIPShowEndpoints" and outcome == "complete":
        return [Detail("PJSIPShowEndpoint", "Endpoint", str(item.objectname)) for item in answer if item.objectname]
    if action == "Command" and outcome == "unsupported":
        return [Detail("ModuleCheck", "Module", module) for module in MODULES.split()]
    return []


def next_epoch(last: int) -> int:
    """Return an epoch (seconds since the epoch) greater than ``last``."""
    return max(int(time.time()), last + 1)
