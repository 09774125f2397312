"""The open calls of one source of a PBX, and the indexes by which events find them.

All of it can be made from the calls alone.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from projections.calls.story.call import LISTS, LONGEST, Legacy, OpenCall
from projections.calls.story.graph import HOPS, Graph
from projections.calls.story.ids import has_time, is_older
from projections.calls.story.items import Leg, Ring, Talk, kind_of
from schemas.call_settings import QUEUE_EVENTS


class Room:
    """Persons who talk with each other now, and the talk of each call that takes part."""

    __slots__ = ("conference", "persons", "talks")

    def __init__(self, persons: list[str], conference: str, talks: list[tuple[OpenCall, Talk]]) -> None:
        self.persons = persons
        self.conference = conference
        self.talks = talks


class Pbx(Graph):
    """``calls`` has each call by its linked id and by every alias, ``homes`` by the unique id of every channel.

    ``talking`` holds the room of each person who talks. ``dirty`` names the calls that the current event changed,
    ``over`` those that it ended, ``empty`` those whose last channel it moved. ``epoch``, ``listed`` and ``gone`` belong
    to the snapshot under way. ``ended`` holds calls that ended in this batch, or that the engine loaded for it, by
    every id. ``heirs`` has the calls by the ids that they inherited from poorer stories.

    ``newest`` is the unique id with the highest counter in the space of CEL.

    ``richer`` and ``poorer`` are the spaces of the PBX's other sources, the richest first. ``words`` are a dialplan's
    words in queue_log with their outcomes. ``clock`` is the memory of `pbx_clock.times`. ``served`` has the channels of
    callers who hung up before their AgentComplete, by queue and member (`late.key_of`).
    """

    def __init__(self, name: str, source: str = "ami") -> None:
        super().__init__()
        self.name = name
        self.source = source
        self.richer: tuple[Pbx, ...] = ()
        self.poorer: tuple[Pbx, ...] = ()
        self.newest = ""
        self.heirs: dict[str, OpenCall] = {}
        self.calls: dict[str, OpenCall] = {}
        self.talking: dict[str, Room] = {}
        self.dirty: dict[str, None] = {}
        self.over: list[OpenCall] = []
        self.empty: list[OpenCall] = []
        self.ended: dict[str, Any] = {}
        self.trunks: list[str] = []
        self.words: dict[str, str] = dict(QUEUE_EVENTS)
        self.clock: dict[str, Any] = {}
        self.served: dict[str, str] = {}
        self.epoch = 0
        self.listed: set[str] = set()
        self.gone: set[str] = set()

    def put(self, call: OpenCall) -> None:
        """Add a call, with all of its indexes."""
        self.calls[call.linkedid] = call
        for alias in call.aliases:
            self.calls[alias] = call
        self.heirs |= dict.fromkeys(call.inherited, call)
        for unique_id, leg in call.legs.items():
            self.homes[unique_id] = call
            self.legs[unique_id] = leg
            if leg.bridge:
                self.bridges.setdefault(leg.bridge, {})[unique_id] = None

    def fill_rooms(self) -> None:
        """Make the rooms of a restart, once all open calls are there."""
        for bridge, members in self.bridges.items():
            if any(self.legs[member].is_holding for member in members):
                continue
            persons, conference = self.component(bridge)
            if len(persons) < 2 or persons[0] in self.talking:
                continue
            calls = {self.homes[person].linkedid: self.homes[person] for person in persons}
            talks = [(call, talk) for call in calls.values() for talk in call.talks if talk.ended_at is None]
            talks = [(call, talk) for call, talk in talks if any(p in talk.persons and p in call.legs for p in persons)]
            self.talking |= dict.fromkeys(persons, Room(persons, conference, talks))

    def drop(self, call: OpenCall) -> None:
        """Remove an ended call from the indexes."""
        for linkedid in (call.linkedid, *call.aliases):
            if self.calls.get(linkedid) is call:
                del self.calls[linkedid]
        for unique_id in call.legs:
            if self.homes.get(unique_id) is call:
                del self.homes[unique_id]
                del self.legs[unique_id]
        for one in call.inherited:
            if self.heirs.get(one) is call:
                del self.heirs[one]

    def find(self, one: str) -> OpenCall | None:
        """Return the open call that has an id: of a channel, a linked id, or inherited."""
        return self.homes.get(one) or self.calls.get(one) or self.heirs.get(one)

    def claim(self, call: OpenCall, one: str) -> None:
        """Take an id for a call of this space: no poorer story, and no heir, has it any longer."""
        heir = self.heirs.pop(one, None)
        if heir is not None:
            heir.inherited.remove(one)
            self.dirty[heir.linkedid] = None
        for space in self.poorer:
            story = space.find(one)
            if story is not None:
                space.withdraw(story)
                self.inherit(call, story.legacy())
            elif (ended := space.ended.get(one)) is not None:
                space.withdraw_ended(ended)
                self.inherit(call, ended.legacy())

    def inherit(self, call: OpenCall, legacy: Legacy) -> None:
        """Give a call what a poorer story of it leaves: its number, its ids, and what the call lacks."""
        call.inherit(legacy)
        for one in legacy.ids:
            if len(call.inherited) < LONGEST and self.find(one) is None and one not in self.ended:
                call.inherited.append(one)
                self.heirs[one] = call
        self.dirty[call.linkedid] = None

    def withdraw(self, call: OpenCall) -> None:
        """Remove an open call, in whose place a richer story comes; who talked with its persons talks on without."""
        for unique_id, leg in call.legs.items():
            members = self.bridges.get(leg.bridge, {})
            members.pop(unique_id, None)
            if leg.bridge and not members:
                self.bridges.pop(leg.bridge, None)
            room = self.talking.pop(unique_id, None)
            if room is None:
                continue
            room.persons = [person for person in room.persons if person != unique_id]
            room.talks = [pair for pair in room.talks if pair[0] is not call]
            if len(room.persons) == 1:
                self.talking.pop(room.persons[0], None)
                for other, talk in room.talks:
                    talk.ended_at = max(call.updated_at, talk.started_at)
                    self.dirty[other.linkedid] = None
        self.drop(call)
        self.dirty[call.linkedid] = None

    def withdraw_ended(self, ended: Any) -> None:
        """Remove an ended call, in whose place a richer story comes."""
        for one in ended.ids():
            if self.ended.get(one) is ended:
                del self.ended[one]
        self.dirty[ended.call.linkedid] = None

    def forget_list(self) -> None:
        """Forget the list of channels under way."""
        self.epoch = 0
        self.listed, self.gone = set(), set()

    def touch(self, call: OpenCall, at: datetime) -> None:
        """Note that the current event changed the call."""
        call.updated_at = at
        self.dirty[call.linkedid] = None

    def call_of(self, linkedid: str, position: int, at: datetime) -> OpenCall:
        """Return the open call of a linked id, a new one if there is none."""
        call = self.calls.get(linkedid)
        if call is None:
            call = OpenCall(self.name, linkedid, position, at, trunks=self.trunks, source=self.source)
            self.calls[linkedid] = call
            self.claim(call, linkedid)
        return call

    def add_leg(self, call: OpenCall, leg: Leg) -> bool:
        """Add a channel to a call; return False where the call has as many as it may."""
        if len(call.legs) >= LONGEST:
            return False
        call.legs[leg.unique_id] = leg
        call.up += 1
        self.homes[leg.unique_id] = call
        self.legs[leg.unique_id] = leg
        self.claim(call, leg.unique_id)
        return True

    def see(self, unique_id: str, linkedid: str, at: datetime) -> OpenCall | None:
        """Return the call of a channel that an event shows with this linked id, merged with that of the id."""
        call = self.homes.get(unique_id)
        if call is None:
            return None
        leg = self.legs[unique_id]
        if not linkedid or linkedid == leg.linkedids[-1]:
            return call
        if linkedid in leg.linkedids:
            leg.linkedids.remove(linkedid)
        leg.linkedids.append(linkedid)
        del leg.linkedids[:-HOPS]
        self.touch(call, at)
        other = self.calls.get(linkedid)
        if other is not None:
            call = self.merge(call, other, at)
            return call if unique_id in self.legs else None  # a full call drops channels that have ended
        if call.agent or linkedid in self.ended:
            return call
        return self.rename(call, linkedid)

    def rename(self, call: OpenCall, linkedid: str) -> OpenCall:
        """Give a call another linked id that no other call has, as its own if it is older, else as an alias.

        Asterisk gives a channel older linked ids only, so one without a time is taken as older.
        """
        if is_older(linkedid, call.linkedid) or not has_time(linkedid):
            self.dirty[call.linkedid] = None
            call.aliases.append(call.linkedid)
            call.linkedid = linkedid
        else:
            call.aliases.append(linkedid)
        call.aliases.sort(key=call.age_of)
        self.calls[linkedid] = call
        self.claim(call, linkedid)
        self.dirty[call.linkedid] = None
        return call

    def merge(self, one: OpenCall, other: OpenCall, at: datetime) -> OpenCall:
        """Move the younger of two calls into the older one, and return it. An agent's session merges with nothing."""
        if one is other or one.agent or other.agent:
            return one
        old, young = (one, other) if one.is_older(other) else (other, one)
        aliases = {*old.aliases, young.linkedid, *young.aliases}
        for linkedid in (young.linkedid, *young.aliases):
            self.calls[linkedid] = old
        for unique_id, leg in list(young.legs.items()):
            if leg.ended_at is not None and len(old.legs) + len(young.legs) > LONGEST:
                old.more["legs"] = old.more.get("legs", 0) + 1
                del young.legs[unique_id], self.homes[unique_id], self.legs[unique_id]
                continue
            self.homes[unique_id] = old
        rooms = [self.talking[person] for person in (*young.legs, *young.guests) if person in self.talking]
        old.legs.update(young.legs)
        old.aliases = sorted(aliases, key=old.age_of)
        old.up += young.up
        old.guests = {u: g for u, g in (young.guests | old.guests).items() if u not in old.legs}
        for name, when in LISTS:
            items = getattr(old, name)
            items += getattr(young, name)
            items.sort(key=lambda item, when=when: getattr(item, when))
            if len(items) > LONGEST:
                old.more[name] = old.more.get(name, 0) + len(items) - LONGEST
                del items[LONGEST:]
        for room in rooms:
            room.talks = [(old if call is young else call, talk) for call, talk in room.talks]
            self.unite_talks(old, room)
        old.talks = list({(*talk.persons, talk.started_at): talk for talk in old.talks}.values())
        old.persons = sum([len(talk.persons) for talk in old.talks])
        for name, count in young.more.items():
            old.more[name] = old.more.get(name, 0) + count
        old.number = min(old.number, young.number)
        old.gaps = [*old.gaps, *(gap for gap in young.gaps if gap not in old.gaps)][:LONGEST]
        old.user_field = old.user_field or young.user_field
        old.spare_account_code = old.spare_account_code or young.spare_account_code
        for source in young.others:
            old.add_source(source)
        old.inherited = list(dict.fromkeys((*old.inherited, *young.inherited)))[:LONGEST]
        self.heirs |= dict.fromkeys(old.inherited, old)
        self.dirty[young.linkedid] = None
        self.touch(old, at)
        return old

    def unite_talks(self, call: OpenCall, room: Room) -> None:
        """Keep the longest of a merged call's talks in one room: both calls had the same conference."""
        same = sorted((talk for one, talk in room.talks if one is call), key=lambda talk: talk.started_at)
        for talk in same[1:]:
            room.talks = [pair for pair in room.talks if pair[1] is not talk]
            call.talks = [other for other in call.talks if other is not talk]

    def move(self, unique_id: str, call: OpenCall, at: datetime) -> None:
        """Move one channel out of an agent's session into the call to which it belongs."""
        home = self.homes[unique_id]
        leg = home.legs.pop(unique_id)
        self.touch(home, at)
        if leg.ended_at is None:
            home.up -= 1
            if home.up == 0:
                self.empty.append(home)
        call.legs[unique_id] = leg
        if leg.ended_at is None:
            call.up += 1
        self.homes[unique_id] = call
        self.touch(call, at)

    def ring_of(self, call: OpenCall, unique_id: str) -> Ring | None:
        """Return the last ring of a phone."""
        for ring in reversed(call.rings):
            if ring.to == unique_id:
                return ring
        return None


def make_leg(unique_id: str, linkedid: str, channel: str, at: datetime) -> Leg:
    """Make the leg of a channel, as far as its ids tell."""
    return Leg(unique_id, channel, at, [linkedid or unique_id], kind=kind_of(channel))


def ids_of(call: OpenCall) -> Iterable[str]:
    """Return every id by which a call is found."""
    return (call.linkedid, *call.aliases, *call.legs)
