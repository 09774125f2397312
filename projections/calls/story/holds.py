"""Hold, parking, and pickup."""

from datetime import timedelta

from projections.calls.story.call import OpenCall
from projections.calls.story.dialling import last_ring_by, pick_up
from projections.calls.story.items import Hold, Park
from projections.calls.story.legs import add_channel, began_at
from projections.calls.story.pbx import Pbx
from schemas.ami import call as ami

FRESH = timedelta(seconds=2)
"""How old a channel may be whose Newchannel may still come; unique ids have whole seconds."""


def hold(pbx: Pbx, e: ami.HoldBegin) -> None:
    """Begin a hold, unless it has begun."""
    if pbx.see(e.unique_id, e.linked_id, e.at) is None or pbx.legs[e.unique_id].ended_at is not None:
        return
    by = pbx.person_behind(e.unique_id)
    for call in calls_with(pbx, by):
        if not any(one.by == by and one.ended_at is None for one in call.holds):
            call.add("holds", call.holds, Hold(by, e.at))
            pbx.touch(call, e.at)


def unhold(pbx: Pbx, e: ami.HoldEnd) -> None:
    """End a hold."""
    if pbx.see(e.unique_id, e.linked_id, e.at) is None:
        return
    by = pbx.person_behind(e.unique_id)
    for call in calls_with(pbx, by):
        for one in call.holds:
            if one.by == by and one.ended_at is None:
                one.ended_at = max(e.at, one.started_at)
                pbx.touch(call, e.at)


def calls_with(pbx: Pbx, person: str) -> list[OpenCall]:
    """Return the calls in which a person talks, else his own: a logged-in agent talks in the caller's."""
    room = pbx.talking.get(person)
    calls = {} if room is None else {call.linkedid: call for call, _ in room.talks}
    home = pbx.homes.get(person)
    if home is None:
        return []
    return [call for call in calls.values() if person in call.guests and home.agent] or [home]


def park(pbx: Pbx, e: ami.ParkingStart) -> None:
    """Begin a stay in a parking lot; an item of a list counts where the event is missing.

    Events of parking may overtake the Newchannel of a channel that calls the lot.
    """
    if e.unique_id not in pbx.homes and e.unique_id not in pbx.ended and not e.action_id and is_fresh(e):
        add_channel(pbx, e)
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None or pbx.legs[e.unique_id].ended_at is not None:
        return
    party = pbx.person_behind(e.unique_id)
    if party in call.legs and not any(p.party == party and p.ended_at is None for p in call.parks):
        call.add("parks", call.parks, Park(party, e.at, e.dial_string, e.lot, e.space))
        pbx.touch(call, e.at)


def is_fresh(e: ami.ParkingStart) -> bool:
    """Return whether the parked channel began at most a moment ago, so that its Newchannel is still to come."""
    return bool(e.channel) and e.at - began_at(e.unique_id, e.at - 2 * FRESH) < FRESH


def swap_parked(pbx: Pbx, e: ami.ParkedCallSwap) -> None:
    """Put the channel that replaced a parked one into its place."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        return
    for stay in call.parks:
        if stay.lot == e.lot and stay.space == e.space and stay.ended_at is None:
            stay.party = pbx.person_behind(e.unique_id) or stay.party
            pbx.touch(call, e.at)


def end_park(pbx: Pbx, e: ami.ParkingEvent, outcome: str) -> None:
    """End a stay in a parking lot."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        return
    if e.retriever_unique_id in pbx.homes:
        call = pbx.merge(call, pbx.homes[e.retriever_unique_id], e.at)
    party = pbx.person_behind(e.unique_id)
    for stay in call.parks:
        if stay.party == party and stay.ended_at is None:
            stay.ended_at, stay.outcome = max(e.at, stay.started_at), outcome
            if outcome == "retrieved" and (by := pbx.person_behind(e.retriever_unique_id)) in call.legs:
                stay.retrieved_by = by
            pbx.touch(call, e.at)


def retrieve(pbx: Pbx, e: ami.UnParkedCall) -> None:
    """End a stay: somebody retrieved the call."""
    end_park(pbx, e, "retrieved")


def time_out(pbx: Pbx, e: ami.ParkedCallTimeOut) -> None:
    """End a stay: the lot's time was over, and the parker is called back."""
    end_park(pbx, e, "timeout")


def give_up(pbx: Pbx, e: ami.ParkedCallGiveUp) -> None:
    """End a stay: the parked caller hung up."""
    end_park(pbx, e, "gave_up")


def take_call(pbx: Pbx, e: ami.CallPickup) -> None:
    """Record a pickup; the picker's channel has its own linked id until then."""
    target = pbx.see(e.target_unique_id, e.target_linked_id, e.at)
    picker = pbx.see(e.unique_id, e.linked_id, e.at)
    if target is None or picker is None:
        return
    call = pbx.merge(pbx.homes[e.target_unique_id], pbx.homes[e.unique_id], e.at)
    ring = pbx.ring_of(call, e.target_unique_id)
    if ring is None and (half := pbx.legs[e.target_unique_id].other):
        ring = last_ring_by(call, half)
    by = pbx.person_behind(e.unique_id) or e.unique_id
    if ring is not None and (guess := next((one for one in call.pickups if one.by == by), None)) is not None:
        # DialEnd came first, and does not name the phone that rang.
        for other in call.rings:
            if other.to == guess.of and other is not ring and other.outcome == "picked_up":
                other.outcome = "elsewhere"
        call.pickups.remove(guess)
    pick_up(pbx, call, by, ring, e.at)
