"""The working state of a call while it lasts: everything from which its story is made.

All of it is JSON, so a restart continues where the last batch ended. Channels are named by unique id. Lists hold at
most `LONGEST` items; ``more`` counts the others.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from projections.calls.story.ids import NO_TIME, by_age, has_time, is_older, is_unique_id
from projections.calls.story.items import (
    Conference,
    Forward,
    Gap,
    Guest,
    Hold,
    Leg,
    Offer,
    Park,
    Passage,
    Pickup,
    Recording,
    Ring,
    Talk,
    Transfer,
    Voicemail,
)
from projections.calls.story.log_passage import LogPassage

LONGEST = 1000
"""How many legs, rings and other items of one call are kept; the rest is counted."""

MOST_PERSONS = 1000
"""How many persons all talks of one call name together: a conference of 30 members who come and go one by one."""


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

    def is_older(self, other: "OpenCall") -> bool:
        """Return whether Asterisk takes the linked id of this call when channels of both come together."""
        if has_time(self.linkedid) and has_time(other.linkedid):
            return is_older(self.linkedid, other.linkedid)
        return (self.began_at(), self.linkedid) < (other.began_at(), other.linkedid)

    def began_at(self) -> datetime:
        """Return the start of the channel whose unique id is the linked id, or else of the first channel."""
        first = self.legs.get(self.linkedid)
        return (
            first.started_at if first else min((leg.started_at for leg in self.legs.values()), default=self.updated_at)
        )

    def age_of(self, one: str) -> tuple[int, int, str]:
        """Return the key that sorts ids of this call, the oldest first."""
        age = by_age(one)
        if age[0] == NO_TIME and one in self.legs:
            return int(self.legs[one].started_at.timestamp()), NO_TIME, one
        return age

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
