"""The graph of bridges, and the talks of each call that follow from it."""

from datetime import datetime, timedelta
from typing import Any

from projections.calls.story.call import MOST_PERSONS, OpenCall
from projections.calls.story.dialling import answer_ring, find_source
from projections.calls.story.items import LOCAL, PERSON, Conference, Guest, Leg, Ring, Talk
from projections.calls.story.legs import adopt_channel, fix_number, identity
from projections.calls.story.pbx import Pbx, Room
from projections.calls.story.people import caller_of
from projections.calls.story.queues import take_out
from schemas.ami import call as ami

LAPSE = timedelta(seconds=1)
"""How long the same persons may be apart without a new conversation: one of several swaps is half done."""

MERGING = {"basic", "stasis"}
"""Types of bridges in which Asterisk gives all channels the oldest linked id (bridge_basic.c, stasis_bridge.c)."""


def enter_bridge(pbx: Pbx, e: ami.BridgeEnter) -> None:
    """Put a channel into a bridge; calls that meet in a basic or Stasis bridge become one."""
    leg = pbx.legs.get(e.unique_id) or adopt_channel(pbx, e)
    if leg is None or leg.ended_at is not None or not e.bridge_id:
        return
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        return
    if leg.bridge and leg.bridge != e.bridge_id:
        leave_bridge(pbx, leg, e.at)
    if e.swap_unique_id and (swapped := pbx.legs.get(e.swap_unique_id)) is not None and swapped.bridge == e.bridge_id:
        leave_bridge(pbx, swapped, e.at)
    members = pbx.bridges.setdefault(e.bridge_id, {})
    members[e.unique_id] = None
    leg.bridge, leg.is_stale = e.bridge_id, False
    leg.is_holding = e.technology == "holding_bridge"
    leg.conference = e.bridge_name if e.creator == "ConfBridge" else ""
    leg.answered_at = leg.answered_at or (e.at if leg.kind == PERSON else None)
    if not leg.is_holding:
        fix_number(leg)
    if e.bridge_type in MERGING and not leg.is_holding:
        for member in list(members):
            call = pbx.merge(call, pbx.homes[member], e.at)
    call = pbx.homes[e.unique_id]
    pair_by_name(pbx, call.legs, leg, e.at)
    # A feature code's consultation may dial, and be answered, before the transferer is in its bridge.
    for ring in call.rings:
        if not ring.source and (ring.ended_at is None or is_transferer(leg, ring, e.at)):
            find_source(pbx, call, ring)
    if leg.conference:
        join_conference(pbx, call, leg, e.at)
    if e.bridge_type == "agent_hold":
        take_session(call, leg, e, pbx.legs.get(e.swap_unique_id))
    elif call.passages and not leg.is_holding:
        take_out(pbx, call, leg, e.at)
    settle(pbx, leg, e.bridge_id, e.at)
    pbx.touch(call, e.at)


def is_transferer(leg: Leg, ring: Ring, at: datetime) -> bool:
    """Return whether a person may have asked for a ring that has just ended: he was there before it."""
    is_recent = ring.ended_at is not None and at - ring.ended_at <= LAPSE
    return leg.kind == PERSON and leg.started_at < ring.started_at and is_recent


def quit_bridge(pbx: Pbx, e: ami.BridgeLeave) -> None:
    """Take a channel out of a bridge, unless it is in another one already."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        return
    leg = pbx.legs[e.unique_id]
    if leg.bridge and leg.bridge == e.bridge_id:
        leave_bridge(pbx, leg, e.at)
        pbx.touch(call, e.at)
    elif leg.is_stale:
        pbx.touch(call, e.at)
    leg.is_stale = False


def leave_bridge(pbx: Pbx, leg: Leg, at: datetime) -> None:
    """Take a channel out of its bridge."""
    bridge = leg.bridge
    members = pbx.bridges.get(bridge)
    if members is not None:
        members.pop(leg.unique_id, None)
        if not members:
            del pbx.bridges[bridge]
    leg.bridge = ""
    if leg.conference:
        call = pbx.homes[leg.unique_id]
        for stay in call.conferences:
            if stay.channel == leg.unique_id and stay.ended_at is None:
                stay.ended_at = at
        leg.conference = ""
    was_holding, leg.is_holding = leg.is_holding, False
    if not was_holding:
        settle(pbx, leg, bridge, at)


def pair_halves(pbx: Pbx, e: ami.LocalBridge) -> None:
    """Pair the halves of a Local channel."""
    one, two = pbx.legs.get(e.one_unique_id), pbx.legs.get(e.two_unique_id)
    if one is None or two is None:
        return
    one.other, two.other = two.unique_id, one.unique_id
    call = pbx.merge(pbx.homes[one.unique_id], pbx.homes[two.unique_id], e.at)
    for leg in (one, two):
        if leg.bridge:
            settle(pbx, leg, leg.bridge, e.at)
    pbx.touch(call, e.at)


def pair_by_name(pbx: Pbx, legs: dict[str, Leg], leg: Leg, at: datetime) -> None:
    """Pair the halves of a Local channel, whose names differ in the last digit, where no LocalBridge did."""
    if leg.kind != LOCAL or leg.other or not leg.channel.endswith((";1", ";2")):
        return
    other = leg.channel[:-1] + ("1" if leg.channel.endswith("2") else "2")
    for half in reversed(legs.values()):
        if half.channel == other and not half.other and half.ended_at is None:
            leg.other, half.other = half.unique_id, leg.unique_id
            for one in (leg, half):
                if one.bridge:
                    settle(pbx, one, one.bridge, at)
                pbx.dirty[pbx.homes[one.unique_id].linkedid] = None
            return


def take_session(call: OpenCall, leg: Leg, e: ami.BridgeEnter, swapped: Leg | None) -> None:
    """Begin an agent's session of a channel that waits for calls, also in the place of another one."""
    if not leg.agent:
        leg.agent = call.agent = (swapped.agent if swapped is not None else "") or e.unique_id


def join_conference(pbx: Pbx, call: OpenCall, leg: Leg, at: datetime) -> None:
    """Begin a stay in a ConfBridge."""
    party = pbx.person_behind(leg.unique_id)
    is_there = any(stay.channel == leg.unique_id and stay.ended_at is None for stay in call.conferences)
    if party in call.legs and not is_there:
        call.add("conferences", call.conferences, Conference(leg.conference, leg.unique_id, party, at))


def settle(pbx: Pbx, moved: Leg, bridge: str, at: datetime) -> None:
    """Close the talks that the change of a bridge has ended, and open those that it has begun."""
    left: list[Room] = []
    if moved.kind == PERSON:
        if not moved.bridge and (room := pbx.talking.get(moved.unique_id)) is not None:
            left.append(room)
    elif (half := pbx.legs.get(moved.other)) is not None and half.bridge and half.bridge != bridge:
        settle_component(pbx, half.bridge, [], at)
    settle_component(pbx, bridge, left, at)


def settle_component(pbx: Pbx, bridge: str, rooms: list[Room], at: datetime) -> None:
    """Make one room of everybody in a component, in place of ``rooms`` and those in which they were."""
    persons, conference = ([], "") if is_holding(pbx, bridge) else pbx.component(bridge)
    for person in persons:
        if (room := pbx.talking.get(person)) is not None and room not in rooms:
            rooms.append(room)
    now = persons if len(persons) > 1 else []
    talkers = {person for room in rooms for _, talk in room.talks for person in talk.persons}
    for person in now:
        if person not in talkers:
            answer_ring(pbx, person, at)
    if len(rooms) == 1 and rooms[0].persons == now and rooms[0].conference == conference:
        room = rooms[0]
    else:
        lasting = [pair for room in rooms for pair in close_room(pbx, room, now, at)]
        room = Room(now, conference, lasting)
        pbx.talking |= dict.fromkeys(now, room)
    having = {call.linkedid for call, _ in room.talks}
    members = set(now)
    for person in now:
        call = pbx.homes[person]
        if call.linkedid not in having and not is_session(call):
            having.add(call.linkedid)
            open_talk(pbx, call, room, members, at)


def is_session(call: OpenCall) -> bool:
    """Return whether an agent is logged in on a channel of the call, which then has no talks of its own."""
    return bool(call.agent) and any(leg.agent for leg in call.legs.values())


def is_holding(pbx: Pbx, bridge: str) -> bool:
    """Return whether the channels in a bridge only wait there."""
    for member in pbx.bridges.get(bridge, ()):
        return pbx.legs[member].is_holding
    return False


def close_room(pbx: Pbx, room: Room, now: list[str], at: datetime) -> list[tuple[OpenCall, Talk]]:
    """End the talks of a room, but return those of calls that name no more persons and stay in the conference."""
    lasting = []
    for call, talk in room.talks:
        is_full = call.persons + len(now) > MOST_PERSONS and bool(room.conference)
        if is_full and any(person in call.legs for person in now):
            call.more["talks"] = call.more.get("talks", 0) + 1
            lasting.append((call, talk))
        else:
            talk.ended_at = max(at, talk.started_at)
        pbx.touch(call, at)
    for person in room.persons:
        if pbx.talking.get(person) is room:
            del pbx.talking[person]
    return lasting


def open_talk(pbx: Pbx, call: OpenCall, room: Room, members: set[str], at: datetime) -> None:
    """Begin a talk, or continue the last one of these persons after a short lapse."""
    persons = room.persons
    talk = last_talk(call, members)
    if (
        talk is None
        or talk.persons != persons
        or talk.conference != room.conference
        or talk.ended_at is None
        or at - talk.ended_at > LAPSE
    ):
        talk = Talk(persons, at, conference=room.conference)
        if not call.add_talk(talk):
            return
    talk.ended_at = None
    room.talks.append((call, talk))
    for person in persons:
        if person not in call.legs and person not in call.guests:
            guest = pbx.legs[person]
            is_caller = caller_of(pbx.homes[person]) is guest
            call.guests[person] = Guest(guest.channel, *identity(guest, is_caller=is_caller), bool(guest.agent))
    for passage in call.passages:
        if passage.answered_at is not None and not passage.agent and passage.party in members:
            passage.agent = next(person for person in persons if person != passage.party)
    pbx.touch(call, at)


def last_talk(call: OpenCall, members: set[str]) -> Talk | None:
    """Return the last talk in which one of these persons took part."""
    for talk in reversed(call.talks):
        if not members.isdisjoint(talk.persons):
            return talk
    return None


def talks_of(call: OpenCall, person: str) -> list[Any]:
    """Return the talks of one person, the last first."""
    return [talk for talk in reversed(call.talks) if person in talk.persons]
