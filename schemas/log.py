"""Records of the event log, and the events that Ringledger itself writes into it.

The ``raw`` bytes of an event are exactly those received: an AMI block with its final empty line (source ``ami``), an
ARI message (``ari``), or the JSON of one of the Structs below (``ringledger``).
"""

from datetime import datetime
from typing import Literal

from msgspec import Raw, Struct

Source = Literal["ami", "ari", "cdr_csv", "cel_csv", "queue_log", "ringledger"]

MAX_POSITION = 1 << 62
"""Greater than every position of a log."""

MAX_EXACT_SECONDS = 9e9
"""The year 2255. Up to this time a float holds whole microseconds, so times are the same in Python and in SQL."""


class NewEvent(Struct, frozen=True, gc=False):
    """An event to append. Times are seconds since the epoch, less than `MAX_EXACT_SECONDS`.

    ``occurred`` may be unknown (None).
    """

    source: Source
    name: str
    occurred: float | None
    recorded: float
    raw: bytes


class RecordedEvent(Struct, frozen=True, gc=False):
    """An event of the log.

    ``recorded`` is when the listener read the event, by the listener's clock. ``at`` is when it happened, by the PBX's
    clock, or ``recorded`` for an event without a time.
    """

    position: int
    pbx: str
    source: Source
    name: str
    at: datetime
    raw: bytes
    recorded: datetime


class RingledgerEvent(Struct, frozen=True, tag_field="type"):
    """Base of Ringledger's own events; the tag is the event's name in the log."""


class Connected(RingledgerEvent, frozen=True):
    """The listener is logged in and receives events from here on. ``banner`` is Asterisk's greeting line."""

    address: str
    banner: str = ""


class LoginRefused(RingledgerEvent, frozen=True):
    """Asterisk refused the login; ``message`` is its reply."""

    address: str
    message: str


class Disconnected(RingledgerEvent, frozen=True):
    """The link is lost; events of the PBX after ``heard`` (seconds since the epoch) are not in the log."""

    reason: str
    heard: float


class AriConnected(RingledgerEvent, frozen=True):
    """The ARI websocket is open. The AMI link, whose state and gaps are those of the PBX, is independent of it."""

    address: str


class AriDisconnected(RingledgerEvent, frozen=True):
    """The ARI websocket is lost; ARI messages after ``heard`` (seconds since the epoch) are not in the log."""

    reason: str
    heard: float


class Superseded(RingledgerEvent, frozen=True):
    """A Connected, Disconnected, AriConnected or AriDisconnected (``of``) that came late from a spool.

    Another listener has taken over since, and recorded the end of this link. ``event`` is the JSON of the event.
    """

    of: str
    event: Raw


class SnapshotStarted(RingledgerEvent, frozen=True):
    """List actions follow. ``epoch`` rises with every snapshot of one PBX (seconds since the epoch at its start)."""

    epoch: int


class SnapshotListed(RingledgerEvent, frozen=True):
    """One list action is complete; its response is in the log before this event.

    ``outcome``: ``complete`` (the list ended), ``empty`` (Asterisk replies to an empty list with an error),
    ``refused`` (the AMI user lacks the class; ``instead`` names the action that replaces it), ``unsupported`` (no such
    action), ``failed`` (anything else; the list proves nothing). Before ``refused`` existed, a refusal was
    ``unsupported`` with the message "Permission denied".
    """

    epoch: int
    action: str
    outcome: Literal["complete", "empty", "refused", "unsupported", "failed"]
    message: str = ""
    instead: str = ""


class SnapshotCompleted(RingledgerEvent, frozen=True):
    """All list actions of this epoch are done; ``failed`` names those without a complete list."""

    epoch: int
    failed: tuple[str, ...] = ()


class Redacted(RingledgerEvent, frozen=True):
    """Events of this PBX were redacted: ``token`` replaces a person's number, or a text, in their bytes.

    Each of ``changes`` is (position, leaf before, leaf after), leaves as in ``services/log/chain.py``, in hexadecimal.
    ``actor`` is the user of the operating system. ``ledger.redact`` appends the event in the transaction of the
    changes. ``position`` is that of this event itself: otherwise it was imported, and is about another log.
    """

    position: int
    kind: Literal["number", "text"]
    token: str
    reason: str
    actor: str
    changes: tuple[tuple[int, str, str], ...]


class Archived(RingledgerEvent, frozen=True):
    """A month has moved from the log to ``file``, whose SHA-256 is ``sha256``.

    ``previous`` is the link before its first batch, ``hash`` that of its last one, in hexadecimal. ``ledger.detach``
    appends the event in the transaction that removes the month. ``position`` is as in `Redacted`.
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
    """Appended once a minute per PBX, with or without a link; counts are those since the last one."""

    minute: int
    link: Literal["up", "down"]
    events: int
    rejected_blocks: int = 0
    rejected_bytes: int = 0


class Rejected(RingledgerEvent, frozen=True):
    """An event that PostgreSQL refused for its content; ``raw`` is base64 in the JSON."""

    of: str
    name: str
    error: str
    raw: bytes


class Imported(RingledgerEvent, frozen=True):
    """The events that follow in this connection come from a file: ``kind`` is ``ami``, or the source of its lines.

    ``events`` counts them. ``heard`` counts omitted lines of times that the listener recorded, ``there`` omitted lines
    of an earlier import. ``log`` is the position up to which the log was searched for both.
    ``first`` and ``last`` are the times of the earliest and the latest event (seconds since the epoch); ``timezone`` is
    that of local times. ``damaged`` counts omitted lines that are not records, None where every line had to be one.
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
