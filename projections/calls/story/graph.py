"""The graph of a PBX's channels: bridges join them, a Local channel joins its halves."""

from projections.calls.story.call import OpenCall
from projections.calls.story.items import PERSON, Leg

HOPS = 20
"""How many Local channels may lie between a dialling channel and the person behind it."""


class Graph:
    """The channels of a PBX.

    ``homes`` has the call of every channel, ``legs`` the channels, both by unique id. ``bridges`` holds the channels of
    each bridge in the order in which they entered.
    """

    def __init__(self) -> None:
        self.homes: dict[str, OpenCall] = {}
        self.legs: dict[str, Leg] = {}
        self.bridges: dict[str, dict[str, None]] = {}

    def component(self, bridge: str, without: str = "") -> tuple[list[str], str]:
        """Return the persons who can talk in a bridge, also through Local channels, and their conference's name.

        ``without`` is a half through which the search does not go.
        """
        persons: list[str] = []
        conference = ""
        reached = [bridge] if bridge in self.bridges else []
        for current in reached:
            for unique_id in self.bridges[current]:
                leg = self.legs[unique_id]
                conference = conference or leg.conference
                if leg.kind == PERSON:
                    persons.append(unique_id)
                elif leg.other and unique_id != without:
                    half = self.legs.get(leg.other)
                    if half is not None and half.bridge and not half.is_holding and half.bridge not in reached:
                        reached.append(half.bridge)
        persons.sort()
        return persons, conference

    def person_behind(self, unique_id: str) -> str:
        """Return the person behind a channel: itself, who dialled its Local channel, or who is bridged with that."""
        for _ in range(HOPS):
            leg = self.legs.get(unique_id)
            if leg is None:
                return ""
            if leg.kind == PERSON:
                return unique_id
            half = self.legs.get(leg.other)
            if half is None:
                return self.first_of(leg)
            if not half.dialler:
                return self.first_of(half) or self.first_of(leg)
            unique_id = half.dialler
        return ""

    def person_ahead(self, unique_id: str) -> str:
        """Return the person whom a channel reaches: itself, or who answered or is bridged beyond its Local channel."""
        for _ in range(HOPS):
            leg = self.legs.get(unique_id)
            if leg is None:
                return ""
            if leg.kind == PERSON:
                return unique_id
            half = self.legs.get(leg.other)
            if half is None:
                return ""
            if half.bridge and (person := self.first_of(half)):
                return person
            call = self.homes[unique_id]
            answered = [u for u, to in call.legs.items() if to.dialler == leg.other and to.answered_at]
            if not answered:
                return ""
            unique_id = answered[-1]
        return ""

    def first_of(self, leg: Leg) -> str:
        """Return the oldest person on the side of a Local channel's half, empty if there is none."""
        if not leg.bridge or leg.is_holding:
            return ""
        persons, _ = self.component(leg.bridge, leg.unique_id)
        return min(persons, key=lambda person: (self.legs[person].started_at, person)) if persons else ""
