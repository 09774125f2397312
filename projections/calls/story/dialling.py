"""Dials: which phone was rung by whom, when, and what came of it; forwards and pickups without an event."""

from datetime import datetime, timedelta

from projections.calls.call_records import member_of
from projections.calls.story.call import OpenCall
from projections.calls.story.items import PERSON, Forward, Leg, Pickup, Ring
from projections.calls.story.legs import UP, adopt_channel, fix_number, show_number, take_extension
from projections.calls.story.offers import name_queues, offer_of, queue_of
from projections.calls.story.pbx import Pbx, make_leg
from schemas.ami import call as ami

MOMENT = timedelta(seconds=1)
"""How far apart the events of one moment may be."""

OUTCOMES = {
    "ANSWER": "answered",
    "BUSY": "busy",
    "NOANSWER": "no_answer",
    "CANCEL": "cancelled",
    "CONGESTION": "congestion",
    "CHANUNAVAIL": "unavailable",
    "DONTCALL": "refused",
    "TORTURE": "refused",
}
"""Outcomes of a ring by DialStatus; others (GOTO, CONTINUE, ABORT) come after a phone has answered."""


def begin_dial(pbx: Pbx, e: ami.DialBegin) -> None:
    """Begin a ring, if the dialled channel is a person's."""
    call = dial_call(pbx, e)
    if call is None:
        return
    leg = pbx.legs[e.dest_unique_id]
    dialler = pbx.legs.get(e.unique_id)
    if leg.ended_at is not None:
        return
    if e.dest_state == UP and may_pick_up(leg) and (ring := cancelled_ring(call, e.unique_id, e.at)) is not None:
        pick_up(pbx, call, e.dest_unique_id, ring, e.at)
        return
    if (ring := pbx.ring_of(call, e.dest_unique_id)) is not None:
        # A channel is dialled once: the event is doubled, or comes after its DialEnd.
        if not ring.dialled:
            ring.dialled = e.dial_string
            pbx.touch(call, e.at)
        return
    if dialler is not None and (not dialler.is_dialled or dialler.is_originated):
        take_extension(call, dialler, e.exten, e.context)
    begin_ring(pbx, call, leg, e, Ring(e.dest_unique_id, e.at, dialled=e.dial_string))


def may_pick_up(leg: Leg) -> bool:
    """Return whether a channel may be a picker's: it began its own call, and was not dialled."""
    return leg.kind == PERSON and not leg.is_dialled and leg.linkedids[0] == leg.unique_id


def begin_ring(pbx: Pbx, call: OpenCall, leg: Leg, e: ami.Dial, ring: Ring) -> None:
    """Note on a channel who dialled it, and begin the ring of a person's channel."""
    leg.is_dialled = True
    leg.dialler = ring.dialler = e.unique_id
    leg.is_originated = not e.unique_id
    if not leg.queue:
        offer = offer_of(call, e.dest_unique_id)
        leg.queue = offer.queue if offer is not None else forwarded_queue(call, e)
    show_number(leg, e.dest_number, e.dest_name)
    if (dialler := pbx.legs.get(e.unique_id)) is not None:
        fix_number(dialler)
    pbx.touch(call, e.at)
    if leg.kind != PERSON:
        # The other half runs already, and may have dialled before this event was written (app_dial.c, app_queue.c).
        for other in call.rings:
            if not other.source:
                find_source(pbx, call, other)
        name_queues(pbx, call)
        return
    leg.source = pbx.person_behind(e.unique_id)
    if leg.source and (source := pbx.legs[leg.source]) is not leg:
        fix_number(source)
    ring.source, ring.queue, ring.ringing_at = leg.source, queue_of(pbx, leg), leg.ringing_at
    if call.add("rings", call.rings, ring):
        note_transfer(call, ring)


def forwarded_queue(call: OpenCall, e: ami.Dial) -> str:
    """Return the queue of a member's phone that has just forwarded: the next phone of the same dialler is its own."""
    for ring in reversed(call.rings):
        if ring.dialler == e.unique_id:
            is_next = ring.outcome == "forwarded" and ring.ended_at is not None and e.at - ring.ended_at <= MOMENT
            return ring.queue if is_next else ""
    return ""


def dial_call(pbx: Pbx, e: ami.Dial) -> OpenCall | None:
    """Return the call of a dial's two channels, merged; a phone that an agent's session seems to have is moved."""
    if not e.dest_unique_id or e.dest_unique_id in pbx.ended:
        return None
    dialler = pbx.see(e.unique_id, e.linked_id, e.at)
    if dialler is None and (leg := adopt_channel(pbx, e)) is not None:
        dialler = pbx.homes[leg.unique_id]
    dest = pbx.see(e.dest_unique_id, e.dest_linked_id, e.at)
    if dialler is not None:
        dialler = pbx.homes[e.unique_id]
    if dest is None:
        if e.dest_unique_id in pbx.gone:
            return None
        linkedid = e.dest_linked_id or e.dest_unique_id
        if linkedid in pbx.ended:
            return None
        dest = dialler or pbx.call_of(linkedid, e.position, e.at)
        leg = make_leg(e.dest_unique_id, linkedid, e.dest_channel, e.at)
        if not pbx.add_leg(dest, leg):
            return None
    if dialler is None or dialler is dest:
        return dest
    if dest.agent and not pbx.legs[e.dest_unique_id].agent and not dialler.agent:
        pbx.move(e.dest_unique_id, dialler, e.at)
        return dialler
    if dest.agent or dialler.agent:
        return dest
    return pbx.merge(dialler, dest, e.at)


def change_dial(pbx: Pbx, e: ami.DialState) -> None:
    """Note that a phone rings."""
    if e.status not in {"RINGING", "PROGRESS"}:
        return
    call = pbx.homes.get(e.dest_unique_id)
    if call is None:
        return
    ring = pbx.ring_of(call, e.dest_unique_id)
    if ring is not None and ring.ended_at is None:
        find_source(pbx, call, ring)
        if ring.ringing_at is None:
            ring.ringing_at = e.at
        pbx.touch(call, e.at)


def find_source(pbx: Pbx, call: OpenCall, ring: Ring) -> None:
    """Find the person behind the dialler where DialBegin had none; events of bridges may come later."""
    if not ring.source and ring.dialler and (source := pbx.person_behind(ring.dialler)) and source != ring.to:
        ring.source = pbx.legs[ring.to].source = source
        note_transfer(call, ring)


def end_dial(pbx: Pbx, e: ami.DialEnd) -> None:
    """End a ring; of two DialEnd, as through Local channels, the first counts."""
    call = dial_call(pbx, e) if e.dest_unique_id in pbx.legs else None
    if call is None:
        return
    leg = pbx.legs[e.dest_unique_id]
    show_number(leg, e.dest_number, e.dest_name)
    ring = pbx.ring_of(call, e.dest_unique_id)
    if ring is None:
        picked = last_ring_by(call, e.unique_id) if e.status == "ANSWER" and may_pick_up(leg) else None
        if picked is not None:
            pick_up(pbx, call, e.dest_unique_id, picked, e.at)
        elif not (leg.dialler or leg.is_originated) and leg.ended_at is None and not has_picked_up(call, leg):
            # Its DialBegin is missing, so the channel's start is that of the ring.
            ring = Ring(e.dest_unique_id, leg.started_at)
            begin_ring(pbx, call, leg, e, ring)
        elif e.forward and leg.kind != PERSON:
            pbx.touch(call, e.at)
    if ring is None or ring.ended_at is not None:
        return
    find_source(pbx, call, ring)
    if e.forward:
        finish_ring(ring, "forwarded", e.at)
        call.add("forwards", call.forwards, Forward(e.at, e.dest_unique_id, number_of(e.forward)))
    else:
        other = "answered" if leg.answered_at is not None else "no_answer"
        finish_ring(ring, OUTCOMES.get(e.status, other), e.at)
    if ring.outcome in {"answered", "cancelled"}:
        end_other_rings(call, ring)
    pbx.touch(call, e.at)


def answer_ring(pbx: Pbx, person: str, at: datetime) -> None:
    """End the ring of a phone that talks: its DialEnd is lost, or comes later."""
    call, leg = pbx.homes[person], pbx.legs[person]
    ring = pbx.ring_of(call, person) if leg.is_dialled else None
    if ring is not None and ring.ended_at is None:
        finish_ring(ring, "answered", at)
        end_other_rings(call, ring)


def end_other_rings(call: OpenCall, ended: Ring) -> None:
    """Give rings that ended because another one was answered their outcome; the events come in any order."""
    for other in call.rings:
        if ended.outcome == "answered" and is_elsewhere(other, ended):
            other.outcome = "elsewhere"
        elif other.outcome == "answered" and is_elsewhere(ended, other):
            ended.outcome = "elsewhere"


def is_elsewhere(other: Ring, answered: Ring) -> bool:
    """Return whether a ring ended because another one of the same person's was answered."""
    return (
        other.outcome == "cancelled"
        and other.ended_at is not None
        and answered.ended_at is not None
        and abs(answered.ended_at - other.ended_at) <= MOMENT
        and (other.dialler == answered.dialler or (bool(other.source) and other.source == answered.source))
    )


def finish_ring(ring: Ring, outcome: str, at: datetime) -> None:
    """End a ring."""
    ring.outcome = outcome
    ring.ended_at = max(at, ring.started_at)


def number_of(forward: str) -> str:
    """Return the number in what a phone was forwarded to: ``Local/107@internal`` is 107."""
    return member_of(forward).rpartition("/")[2].partition("@")[0] or forward


def last_ring_by(call: OpenCall, dialler: str) -> Ring | None:
    """Return the last ring of a dialler that is open, or else was cancelled without a reason yet.

    A picker takes the place of the phone that rang, so of a group all others have their DialEnd.
    """
    rings = [r for r in reversed(call.rings) if r.dialler == dialler and r.outcome in {"", "cancelled", "elsewhere"}]
    return next((ring for ring in rings if not ring.outcome), rings[0] if rings else None)


def cancelled_ring(call: OpenCall, dialler: str, at: datetime) -> Ring | None:
    """Return the ring of a dialler that was cancelled just now, or else `last_ring_by`."""
    for ring in reversed(call.rings):
        is_recent = ring.ended_at is not None and at - ring.ended_at <= MOMENT
        if ring.dialler == dialler and ring.outcome == "cancelled" and is_recent:
            return ring
    return last_ring_by(call, dialler)


def has_picked_up(call: OpenCall, leg: Leg) -> bool:
    """Return whether a channel has taken a call."""
    return any(pickup.by == leg.unique_id for pickup in call.pickups)


def pick_up(pbx: Pbx, call: OpenCall, channel: str, ring: Ring | None, at: datetime) -> None:
    """Record that the person of a channel took the call from the phone that rang."""
    by = pbx.person_behind(channel) or channel
    if ring is None or any(pickup.by == by for pickup in call.pickups):
        return
    if ring.ended_at is None:
        finish_ring(ring, "picked_up", at)
    ring.outcome = "picked_up"
    fix_number(pbx.legs[by])
    call.add("pickups", call.pickups, Pickup(at, by, ring.to))
    pbx.touch(call, at)


def note_transfer(call: OpenCall, ring: Ring) -> None:
    """Add a phone to the transfer whose transferee it is rung for; a transfer into a parking lot has ended there."""
    for transfer in reversed(call.transfers):
        if transfer.transferee and transfer.transferee == ring.source and ring.to != transfer.by:
            parked = any(p.party == ring.source and (p.ended_at or ring.started_at) > transfer.at for p in call.parks)
            if ring.to not in transfer.to and not parked:
                transfer.to.append(ring.to)
            return


def end_rings(call: OpenCall, leg: Leg, at: datetime) -> None:
    """End the ring of a phone that ends without a DialEnd.

    Asterisk 16 sends none for a phone that it rang itself and that did not answer in time. No person cancelled.
    """
    for ring in call.rings:
        if ring.to == leg.unique_id:
            if ring.ended_at is None:
                finish_ring(ring, BY_CAUSE.get(leg.cause or 0, "cancelled" if ring.dialler else "no_answer"), at)
            elif ring.outcome == "cancelled" and leg.cause == ELSEWHERE:
                ring.outcome = "elsewhere"


ELSEWHERE = 26
BY_CAUSE = {
    1: "unavailable",
    3: "unavailable",
    17: "busy",
    18: "no_answer",
    19: "no_answer",
    20: "unavailable",
    21: "refused",
    26: "elsewhere",
    34: "congestion",
    38: "congestion",
    41: "congestion",
    42: "congestion",
    44: "congestion",
}
"""Outcomes of a ring without a DialEnd, by the phone's Hangup cause."""
