"""Records of the event log, and the events that Ringledger itself writes into it.

An event's ``raw`` bytes are exactly what was received: an AMI block with its final empty line (source ``ami``), an
ARI message (``ari``), or the JSON of one of the Structs below (``ringledger``).
"""

from datetime import datetime
from typing import Literal

from msgspec import Raw, Struct, field

Source = Literal["ami", "ari", "cdr_csv", "cel_csv", "queue_log", "ringledger"]

MAX_POSITION = 1 << 62
"""Greater than every position of a log."""

LATEST = 9e9
"""The year 2255. Up to here microseconds are whole numbers in a float, and so the same in Python and in SQL."""


class NewEvent(Struct, frozen=True, gc=False):
    """One event on its way into the log; times are seconds since the epoch, ``occurred`` None where unknown.

    Both are less than `LATEST`.
    """

    source: Source
    name: str
    occurred: float | None
    recorded: float
    raw: bytes


class RecordedEvent(Struct, frozen=True, gc=False):
    """One event of the log as a projector reads it.

    ``at`` is when it happened by the PBX's clock, or ``recorded`` where the PBX does not say; ``recorded`` is when our
    listener read it, by the listener's clock.
    """

    position: int
    pbx: str
    source: Source
    name: str
    at: datetime
    raw: bytes
    recorded: datetime


class RingledgerEvent(Struct, frozen=True, tag_field="type"):
    """Base of the events of our own; the tag is the event's name in the log."""


class Connected(RingledgerEvent, frozen=True):
    """The listener is logged in: the PBX is heard from here on. ``banner`` is Asterisk's greeting line."""

    address: str
    banner: str = ""


class LoginRefused(RingledgerEvent, frozen=True):
    """Asterisk refused the login, in its own words."""

    address: str
    message: str


class Disconnected(RingledgerEvent, frozen=True):
    """The link is gone; what the PBX said after ``heard`` (seconds since the epoch) is not in the log."""

    reason: str
    heard: float


class AriConnected(RingledgerEvent, frozen=True):
    """The ARI websocket is open; says nothing of the AMI link, whose state and gaps are those of the PBX."""

    address: str


class AriDisconnected(RingledgerEvent, frozen=True):
    """The ARI websocket is gone; what ARI said after ``heard`` (seconds since the epoch) is not in the log."""

    reason: str
    heard: float


class Superseded(RingledgerEvent, frozen=True):
    """A Connected, Disconnected, AriConnected or AriDisconnected (``of``) that came late out of a spool.

    Another listener had taken over by then, and the end of this link was recorded. ``event`` is the JSON of the event.
    """

    of: str
    event: Raw


class SnapshotStarted(RingledgerEvent, frozen=True):
    """List actions follow. ``epoch`` rises with every snapshot of one PBX (seconds since the epoch at its start)."""

    epoch: int


class SnapshotListed(RingledgerEvent, frozen=True):
    """One list action has been answered, and the answer stands before this event.

    ``outcome``: ``complete`` (the list ended), ``empty`` (Asterisk answers an empty list with an error),
    ``refused`` (the AMI user lacks the class; ``instead`` names the action that is asked in its place),
    ``unsupported`` (no such action), ``failed`` (anything else; nothing may be concluded). Until ``refused`` came, a
    refusal was ``unsupported`` with the message "Permission denied".
    """

    epoch: int
    action: str
    outcome: Literal["complete", "empty", "refused", "unsupported", "failed"]
    message: str = ""
    instead: str = ""


class SnapshotCompleted(RingledgerEvent, frozen=True):
    """All list actions of this epoch have been answered; ``failed`` names those that were not."""

    epoch: int
    failed: tuple[str, ...] = ()


class Redacted(RingledgerEvent, frozen=True):
    """Events of this PBX were given other bytes: a person's number, or a text, became ``token`` in each of them.

    Each of ``changes`` is (position, leaf before, leaf after), leaves as in ``services/log/chain.py``, in hexadecimal.
    ``actor`` is the user of the operating system. ``ledger.redact`` writes it in the transaction that changes them.
    ``position`` is that of this event itself: where it is not, the event was imported, and tells of another log.
    """

    position: int
    kind: Literal["number", "text"]
    token: str
    reason: str
    actor: str
    changes: tuple[tuple[int, str, str], ...]


class Archived(RingledgerEvent, frozen=True):
    """A month has left the log: its positions stand in ``file``, whose SHA-256 is ``sha256``.

    ``previous`` is the link before its first batch, ``hash`` that of its last one, in hexadecimal. ``ledger.detach``
    writes it in the transaction that takes the month out. ``position`` is as in `Redacted`.
    """

    position: int
    month: str
    first: int
    last: int
    previous: str
    hash: str
    file: str
    sha256: str


class Minute(RingledgerEvent, frozen=True):
    """Written once a minute per PBX, link or no link; counts are those since the last one."""

    minute: int
    link: Literal["up", "down"]
    events: int
    rejected_blocks: int = 0
    rejected_bytes: int = 0


class Rejected(RingledgerEvent, frozen=True):
    """PostgreSQL refused an event for its content, so it stands here instead; ``raw`` is base64 in the JSON."""

    of: str
    name: str
    error: str
    raw: bytes


class Imported(RingledgerEvent, frozen=True):
    """What follows in this connection comes from a file: ``kind`` is ``ami``, or the source of its lines.

    ``events`` counts them, and what was left out: lines of a time that was ``heard``, and lines that are ``there`` from
    an earlier import. ``log`` is the position up to which the log was asked for that; ``first`` and ``last`` are when
    the earliest and the latest of the events happened (seconds since the epoch); ``timezone`` is that of local times.
    ``damaged`` counts what is no record and was left out; None where each had to be one.
    """

    file: str
    sha256: str
    kind: Literal["ami", "cdr_csv", "cel_csv", "queue_log"]
    log: int
    events: int
    heard: int = 0
    there: int = 0
    first: float | None = None
    last: float | None = None
    timezone: str = ""
    damaged: int | None = None


class ListItem(Struct, frozen=True):
    """What a snapshot's ActionID says: the epoch and the action that this block answers."""

    epoch: int
    action: str = field(default="")
