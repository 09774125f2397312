"""One snapshot: AMI list actions whose answers enter the log in wire order, like events.

Asterisk answers and sends events from one thread per session, so an answer is never older than an event before it.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import structlog
from panoramisk.message import Message

from schemas.log import RingledgerEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from schemas.refusals import DENIED
from services.asterisk.ami.pending_action import drop_item
from services.asterisk.ami.session import Session

FREQUENT: tuple[str, ...] = (
    "CoreStatus",
    "CoreShowChannels",
    "QueueStatus",
    "Agents",
    "ParkedCalls",
    "Parkinglots",
    "DeviceStateList",
)
"""Lists of calls and queues, requested once a minute."""
RARE: tuple[str, ...] = (
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
"""Lists of configuration, requested at connect, every five minutes and after a reload."""
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
"""Requested by ModuleCheck, one by one, where the account may not list all modules."""

MAX_DETAILS = 20_000
"""Objects whose details wait to be requested: more than the largest PBX has endpoints, and 10 MB of memory."""
MAX_NAME_LENGTH = 200
MAX_MESSAGE_LENGTH = 500

Outcome = Literal["complete", "empty", "refused", "unsupported", "failed"]

logger = structlog.get_logger()


class Detail(NamedTuple):
    """One object to request: ``action`` with ``header: name``."""

    action: str
    header: str
    name: str


class Result(NamedTuple):
    """The objects that a snapshot names, and the lists that Asterisk refused, with its text."""

    details: list[Detail]
    refused: dict[str, str]


async def take_snapshot(
    session: Session,
    epoch: int,
    actions: tuple[str, ...],
    write: Callable[[RingledgerEvent], None],
    *,
    is_booted: bool,
    is_booting: bool = False,
) -> Result:
    """Request every list, and return the objects that can be requested in detail. No item of a list is stored here.

    ``is_booted``: all modules are loaded, so an unknown action has nothing to list (its module is not there).
    ``is_booting``: modules may still load, so an unknown action proves nothing (manager.c accepts clients earlier).

    Raises LinkLostError if the link is lost; the snapshot then has no end in the log and proves nothing.
    """
    write(SnapshotStarted(epoch))
    failed: list[str] = []
    refused: dict[str, str] = {}
    details: list[Detail] = []
    for action in actions:
        outcome: Outcome
        instead, endpoints = "", Endpoints()
        try:
            if action == "Command":
                answer = await session.request(action, f"ringledger/{epoch}/{action}/modules", drop_item, **COMMAND)
            else:
                item_filter = endpoints.add if action == "PJSIPShowEndpoints" else drop_item
                answer = await session.request(action, f"ringledger/{epoch}/{action}", item_filter)
            outcome, message = outcome_of(answer, is_booted=is_booted), _message(answer)
            if action == "Command" and outcome in {"refused", "unsupported"}:
                instead, modules = await _check_modules(session, epoch)
                details += modules
            if outcome == "unsupported" and is_booting:
                outcome = "failed"
        except TimeoutError as error:
            outcome, message = "failed", str(error) or "no answer"
        if outcome == "complete":
            details += endpoints.details
        elif outcome == "failed":
            failed.append(action)
        elif outcome == "refused" and not instead:
            refused[action] = message
        write(SnapshotListed(epoch, action, outcome, message, instead))
    write(SnapshotCompleted(epoch, tuple(failed)))
    return Result(details, refused)


class Endpoints:
    """The endpoints that PJSIPShowEndpoints names, at most `MAX_DETAILS`."""

    def __init__(self) -> None:
        self.details: list[Detail] = []

    def add(self, item: Message) -> None:
        """Add one item of the list."""
        name = str(item.objectname)
        if 0 < len(name) <= MAX_NAME_LENGTH and len(self.details) < MAX_DETAILS:
            self.details.append(Detail("PJSIPShowEndpoint", "Endpoint", name))
            if len(self.details) == MAX_DETAILS:
                logger.warning("details_cut", action="PJSIPShowEndpoints", objects=MAX_DETAILS)


async def _check_modules(session: Session, epoch: int) -> tuple[str, list[Detail]]:
    """Check the first module, and return the action to use instead of `COMMAND` with the other modules.

    Both are empty if the account may not check modules either.
    """
    first, *others = MODULES.split()
    answer = await session.request("ModuleCheck", f"ringledger/{epoch}/ModuleCheck/{first}", drop_item, Module=first)
    if outcome_of(answer, is_booted=False) in {"refused", "unsupported"}:
        return "", []
    return "ModuleCheck", [Detail("ModuleCheck", "Module", module) for module in others]


def outcome_of(answer: list[Message], *, is_booted: bool) -> Outcome:
    """Return the outcome of a list. Asterisk reports an empty list as an error in English ("No Contacts found").

    Once Asterisk ``is_booted``, an unknown action means that the module and its objects do not exist.
    """
    if answer[0].success:
        return "complete" if answer[-1].eventlist.lower() != "cancelled" else "failed"
    message = _message(answer).lower()
    if message.startswith("no ") and not message.startswith("no such "):
        return "empty"
    if "invalid/unknown command" in message:
        return "empty" if is_booted else "unsupported"
    if DENIED.lower() in message:
        return "refused"
    return "failed"


def _message(answer: list[Message]) -> str:
    return str(answer[0].message).strip()[:MAX_MESSAGE_LENGTH]  # PJSIPShow... end theirs with a line feed
