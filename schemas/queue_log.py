"""Lines of Asterisk's queue_log, as folds read them."""

from typing import ClassVar

from msgspec import field

from schemas.ami import AmiEvent
from schemas.log import Source

ENTRY = ("url", "number", "position")
ANSWER = ("hold", "bridged", "ring")
COMPLETION = ("hold", "talk", "position")
EXIT = ("position", "original", "wait")
TRANSFER = ("exten", "context", "hold", "talk", "position")
PAUSE = ("reason",)
LOGIN = ("channel",)
LOGOFF = ("channel", "seconds")
RING = ("ring_ms",)

DATA: dict[str, tuple[str, ...]] = {
    "ENTERQUEUE": ENTRY,
    "CONNECT": ANSWER,
    "COMPLETECALLER": COMPLETION,
    "COMPLETEAGENT": COMPLETION,
    "ABANDON": EXIT,
    "EXITWITHTIMEOUT": EXIT,
    "EXITEMPTY": EXIT,
    "EXITWITHKEY": ("key", *EXIT),
    "WITHDRAW": (*EXIT, "info"),
    "TRANSFER": TRANSFER,
    "BLINDTRANSFER": TRANSFER,
    "RINGNOANSWER": RING,
    "RINGCANCELED": RING,
    "PAUSE": PAUSE,
    "UNPAUSE": PAUSE,
    "PAUSEALL": PAUSE,
    "UNPAUSEALL": PAUSE,
    "ADDMEMBER": ("paused",),
    "REMOVEMEMBER": (),
    "AGENTLOGIN": LOGIN,
    "AGENTLOGOFF": LOGOFF,
    "AGENTCALLBACKLOGIN": LOGIN,
    "AGENTCALLBACKLOGOFF": (*LOGOFF, "reason"),
    "WRAPUPSTART": ("seconds",),
}
"""The data of each event, by place; older Asterisks write fewer of them at the end. Times are seconds, but ``ring_ms``.

``original`` is the position at entry, ``wait`` and ``hold`` the time in the queue until the end or the answer.
"""
ATTENDED: dict[str, tuple[str, ...]] = {
    "BRIDGE": ("method", "bridge", "hold", "talk", "position"),
    "APP": ("method", "app", "hold", "talk", "position"),
    "LINK": ("method", "channel", "second_channel", "hold", "talk", "position"),
    "THREEWAY": ("method", "channel", "second_channel", "hold", "talk", "position"),
}
"""The data of ATTENDEDTRANSFER by its first part."""

ATTENDED_TRANSFER = "ATTENDEDTRANSFER"
DIALPLAN = ("CLOSED", "FULL", "DIVERT_CA_RATIO", "DIVERT_HOLDTIME", "JOINEMPTY", "LEAVEEMPTY")
OTHER = ("QUEUESTART", "CONFIGRELOAD", "RINGINUSE", "PENALTY", "INFO", "SYSCOMPAT", "DID", "AGENTDUMP")
WORDS = frozenset({*DATA, ATTENDED_TRANSFER, *DIALPLAN, *OTHER})
"""Events with a name of their own in the log: those of Asterisk, and of common dialplans."""
ANY_OTHER = "QueueLog"
"""The name in the log of a line with any other event, as dialplans write them with QueueLog()."""
NAMES = WORDS | {ANY_OTHER}
"""Names in the log of all lines, for the ``on`` of a model."""


def log_name(event: str) -> str:
    """Return the name in the log of a line with this event."""
    return event if event in WORDS else ANY_OTHER


class QueueLogLine(AmiEvent, frozen=True, kw_only=True, gc=False):
    """One line of queue_log; ``call_id``, ``queue`` and ``agent`` are empty for NONE.

    ``call_id`` is the caller's unique id, ``agent`` the member's name (the interface in lines about membership, where
    members have no name). ``event`` is the word of the file, ``at`` its time.
    """

    source_of_events: ClassVar[Source] = "queue_log"

    time: str = field(name="Time", default="")
    call_id: str = field(name="CallID", default="")
    queue: str = field(name="Queue", default="")
    agent: str = field(name="Agent", default="")
    event: str = field(name="Event", default="")
    data: tuple[str, ...] = field(name="Data", default=())

    def text(self, name: str) -> str:
        """Return one of the data by its name in `DATA` or `ATTENDED`, empty where the line has none."""
        names = DATA.get(self.event, ()) if self.event != ATTENDED_TRANSFER else self._attended()
        place = names.index(name) if name in names else len(self.data)
        return self.data[place] if place < len(self.data) else ""

    def number(self, name: str) -> int | None:
        """Return one of the data as a whole number, None where the line has none."""
        text = self.text(name).strip()
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None

    def _attended(self) -> tuple[str, ...]:
        return ATTENDED.get(self.data[0].upper(), ()) if self.data else ()
