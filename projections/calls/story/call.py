"""The working state of a call while it lasts: everything from which its story is made.

All of it is JSON, so a restart continues where the last batch ended. Channels are named by unique id. Lists hold at
most `LONGEST` items; ``more`` counts the others.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from projections.calls.story.log_passage import LogPassage

LONGEST = 1000
"""How many legs, rings and other items of one call are kept; the rest is counted."""

MOST_PERSONS = 1000
"""How many persons all talks of one call name together: a conference of 30 members who come and go one by one."""

PERSON, LOCAL, TOOL = 0, 1, 2
TOOLS = ("Message/", "CBAnn/", "CBRec/", "Announcer/", "Recorder/", "Snoop/", "AsyncGoto/", "Surrogate/")
"""Channels that Asterisk makes for itself."""


def kind_of(channel: str) -> int:
    """Return whether the channel is a person's, a half of a Local channel, or a tool of Asterisk's own."""
    return LOCAL if channel.startswith("Local/") else TOOL if channel.startswith(TOOLS) else PERSON


class Leg(Struct, omit_defaults=True):
    """One channel. ``dialler`` is the channel that dialled it, ``source`` the person behind that one.

    ``hung_up_at`` is the start of its extension h, which may run on for long before ``ended_at``.

    ``other`` is the other half of a Local channel. ``bridge`` is the bridge that it is in. ``agent`` is set for the
    channel on which an agent is logged in.
    """

    unique_id: str
    channel: str
    started_at: datetime
    linkedids: list[str]
    kind: int = PERSON
    number: str = ""
    name: str = ""
    first_number: str = ""
    first_name: str = ""
    number_at_start: str = ""
    name_at_start: str = ""
    is_fixed: bool = False
    exten: str = ""
    context: str = ""
    account_code: str = ""
    is_dialled: bool = False
    is_originated: bool = False
    dialler: str = ""
    source: str = ""
    queue: str = ""
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    requested_at: datetime | None = None
    hung_up_at: datetime | None = None
    ended_at: datetime | None = None
    cause: int | None = None
    cause_text: str = ""
    has_dialplan: bool = False
    is_leaving: bool = False
    app_queue: str = ""
    app_data: str = ""
    other: str = ""
    bridge: str = ""
    is_holding: bool = False
    conference: str = ""
    agent: str = ""
    file: str = ""
    quality: list[float | None] = field(default_factory=list)


class Ring(Struct, omit_defaults=True):
    """One attempt to reach the person ``to``; ``source`` is the person behind ``dialler``, empty for none."""

    to: str
    started_at: datetime
    dialler: str = ""
    source: str = ""
    dialled: str = ""
    queue: str = ""
    ringing_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str = ""


class Talk(Struct, omit_defaults=True):
    """The persons of one component of the bridge graph, from the event that made it to the one that changed it."""

    persons: list[str]
    started_at: datetime
    ended_at: datetime | None = None
    conference: str = ""


class Transfer(Struct, omit_defaults=True):
    """A transfer; ``to`` are the phones that rang for ``transferee`` afterwards."""

    kind: str
    at: datetime
    by: str
    transferee: str = ""
    to: list[str] = field(default_factory=list)
    number: str = ""
    context: str = ""


class Pickup(Struct):
    """A call that ``by`` took from the phone ``of``."""

    at: datetime
    by: str
    of: str


class Forward(Struct):
    """A phone ``by`` that gave the number ``to``."""

    at: datetime
    by: str
    to: str


class Passage(Struct, omit_defaults=True):
    """A way of ``party`` through a queue, in which ``channel`` waits; ``gave_up`` is QueueCallerAbandon.

    ``log`` is the passage of queue_log from which this one was made.
    ``exten`` is the caller's place in the dialplan; one who ``is_redirected`` was given another one while he
    waited.
    """

    queue: str
    party: str
    channel: str
    entered_at: datetime
    position: int | None = None
    left_at: datetime | None = None
    wait: float | None = None
    answered_at: datetime | None = None
    completed_at: datetime | None = None
    talk: float | None = None
    outcome: str = ""
    gave_up: bool = False
    exten: str = ""
    is_redirected: bool = False
    member: str = ""
    interface: str = ""
    agent: str = ""
    ended_by: str = ""
    key: str = ""
    ring_no_answers: int = 0
    log: LogPassage | None = None


class Offer(Struct, omit_defaults=True):
    """One ring of a queue's member for a caller; ``channel`` is what the queue dialled, ``wrapup`` is in seconds."""

    queue: str
    member: str
    interface: str
    channel: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str = ""
    wrapup: float = 0.0


class Hold(Struct, omit_defaults=True):
    """A time for which ``by`` held the other side."""

    by: str
    started_at: datetime
    ended_at: datetime | None = None


class Park(Struct, omit_defaults=True):
    """A stay in a parking lot."""

    party: str
    started_at: datetime
    by: str = ""
    lot: str = ""
    space: str = ""
    ended_at: datetime | None = None
    outcome: str = ""
    retrieved_by: str = ""


class Conference(Struct, omit_defaults=True):
    """A stay in a ConfBridge; ``channel`` is the one in the bridge, ``party`` the person behind it."""

    name: str
    channel: str
    party: str
    started_at: datetime
    ended_at: datetime | None = None


class Voicemail(Struct):
    """A caller who was sent to a mailbox."""

    mailbox: str
    party: str
    at: datetime


class Recording(Struct, omit_defaults=True):
    """A recording of the channel ``leg``."""

    leg: str
    started_at: datetime
    path: str = ""
    ended_at: datetime | None = None


class Gap(Struct, omit_defaults=True):
    """A time whose events of the call are missing; see `schemas.calls.CallGap`."""

    reason: str
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Guest(Struct, omit_defaults=True):
    """A person of another call who talks with persons of this one: a logged-in agent, or a conference's member."""

    channel: str
    number: str = ""
    name: str = ""
    is_agent: bool = False


class OpenCall(Struct, omit_defaults=True):
    """One call that has not ended.

    ``number`` is the log position of its first event. ``up`` counts its open legs, ``persons`` those of all talks.
    ``agent`` is set for an agent's session: its linked id merges nothing.

    ``spare_account_code`` is one of a poorer source; it counts where the call has no other.

    ``feed`` is the way by which CEL's last event came (``ami`` or ``cel_csv``), ``position`` the event's position.

    ``source`` is that of the story, ``others`` are sources that added to it. ``inherited`` holds the ids of poorer
    stories in whose place this one came, as far as no call of its own source has them. ``log_passages`` and
    ``log_offers`` are those of queue_log, whatever the source (`log_overlap`).
    """

    pbx: str
    linkedid: str
    number: int
    updated_at: datetime
    aliases: list[str] = field(default_factory=list)
    legs: dict[str, Leg] = field(default_factory=dict)
    up: int = 0
    guests: dict[str, Guest] = field(default_factory=dict)
    rings: list[Ring] = field(default_factory=list)
    talks: list[Talk] = field(default_factory=list)
    persons: int = 0
    transfers: list[Transfer] = field(default_factory=list)
    pickups: list[Pickup] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)
    log_passages: list[LogPassage] = field(default_factory=list)
    log_offers: list[Offer] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    parks: list[Park] = field(default_factory=list)
    conferences: list[Conference] = field(default_factory=list)
    voicemails: list[Voicemail] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)
    more: dict[str, int] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    agent: str = ""
    user_field: str = ""
    account_code: str = ""
    spare_account_code: str = ""
    source: str = "ami"
    feed: str = ""
    position: int = 0
    others: list[str] = field(default_factory=list)
    inherited: list[str] = field(default_factory=list)
    trunks: list[str] = field(default_factory=list)
    is_lost: bool = False
    was_written: bool = False

    def add_talk(self, talk: Talk) -> bool:
        """Append a talk, or only count it where the call has too many."""
        self.persons += len(talk.persons)
        return self.add("talks", self.talks, talk)

    def ids(self) -> list[str]:
        """Return every id by which the call is found."""
        return list(dict.fromkeys((self.linkedid, *self.aliases, *self.legs, *self.inherited)))

    def legacy(self) -> "Legacy":
        """Return what the call leaves to a richer story."""
        return Legacy(
            self.number,
            [one for one in self.ids() if is_unique_id(one)],
            [self.source, *self.others],
            self.user_field,
            self.account_code or self.spare_account_code or self._first_account_code(),
            self.log_passages,
            self.log_offers,
        )

    def _first_account_code(self) -> str:
        return next((leg.account_code for leg in self.legs.values() if leg.account_code and not leg.is_dialled), "")

    def inherit(self, legacy: "Legacy") -> None:
        """Take what a poorer story leaves, but for its ids."""
        self.number = min(self.number, legacy.number)
        for source in legacy.sources:
            self.add_source(source)
        self.user_field = self.user_field or legacy.user_field
        self.spare_account_code = self.spare_account_code or legacy.account_code
        for passage in legacy.passages:
            self.add("log_passages", self.log_passages, passage)
        for offer in legacy.offers:
            self.add("log_offers", self.log_offers, offer)

    def add_source(self, source: str) -> bool:
        """Note a source that added to the story; return False for a known one."""
        if source == self.source or source in self.others:
            return False
        self.others.append(source)
        return True

    def add(self, name: str, items: list[Any], item: Any) -> bool:
        """Append an item, or only count it where the list is full; ``name`` is that of the count."""
        if len(items) >= LONGEST:
            self.more[name] = self.more.get(name, 0) + 1
            return False
        items.append(item)
        return True


class Legacy(Struct):
    """The facts that a poorer story leaves to the richer one that replaces it."""

    number: int
    ids: list[str]
    sources: list[str]
    user_field: str
    account_code: str
    passages: list[LogPassage]
    offers: list[Offer]


LISTS = (
    ("rings", "started_at"),
    ("talks", "started_at"),
    ("transfers", "at"),
    ("pickups", "at"),
    ("forwards", "at"),
    ("passages", "entered_at"),
    ("offers", "started_at"),
    ("log_passages", "entered_at"),
    ("log_offers", "started_at"),
    ("holds", "started_at"),
    ("parks", "started_at"),
    ("conferences", "started_at"),
    ("voicemails", "at"),
    ("recordings", "started_at"),
)
"""The lists of a call, and the time by which their items are in order."""


SOURCES = ("ami", "cel", "queue_log", "cdr")
"""The sources of stories, the richest first."""


def by_wealth(sources: Iterable[str]) -> list[str]:
    """Return sources once each, the richest first."""
    present = set(sources)
    return [source for source in SOURCES if source in present]


def age_of(linkedid: str) -> tuple[int, int]:
    """Return (seconds, counter) of an id such as ``pbx1-1795309031.380``; one without a time is the youngest."""
    seconds, _, counter = linkedid.rpartition("-")[2].partition(".")
    if seconds.isascii() and seconds.isdigit() and counter.isascii() and counter.isdigit():
        return int(seconds[:18]), int(counter[:18])
    return 1 << 62, 0


def by_age(linkedid: str) -> tuple[int, int, str]:
    """Return the key that sorts ids as Asterisk compares them, the oldest first."""
    return (*age_of(linkedid), linkedid)


def is_unique_id(one: str) -> bool:
    """Return whether an id is one of Asterisk's, and not a name that stands for one in queue_log and call records."""
    return "/" not in one


def is_older(one: str, other: str) -> bool:
    """Return whether the id ``one`` is older than ``other``."""
    return by_age(one) < by_age(other)
