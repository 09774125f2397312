"""Rings of CEL, which has no dials: each channel with another's linked id is a phone that rang, or half of a Local."""

from datetime import datetime

from projections.calls.story.call import OpenCall
from projections.calls.story.cel.queues import name_queue
from projections.calls.story.dialling import (
    MOMENT,
    finish_ring,
    note_transfer,
    number_of,
)
from projections.calls.story.items import LOCAL, PERSON, Forward, Leg, Ring
from projections.calls.story.pbx import Pbx

BY_CAUSE = {3: "unavailable", 17: "busy", 20: "unavailable", 34: "congestion"}
"""Outcomes of a ring by the cause with which the phone hung up; any other cause is `no_answer`."""

REFUSALS = {"DONTCALL", "TORTURE"}
"""DIALSTATUS of a dialler whom the phone's person refused in a screening (app_dial.c, options p and P)."""
FAILURES = {"NOANSWER", "BUSY", "CONGESTION", "CHANUNAVAIL", *REFUSALS}
"""DIALSTATUS of a dial that ended by itself."""


def begin_ring(pbx: Pbx, call: OpenCall, leg: Leg, at: datetime) -> None:
    """Begin the ring of a channel, and guess who dialled it."""
    if leg.kind not in {PERSON, LOCAL} or (leg.kind == LOCAL and leg.channel.endswith(";2")):
        return
    leg.is_dialled = True
    leg.dialler = dialler_of(call, leg)
    pbx.touch(call, at)
    if leg.kind != PERSON:
        return
    leg.source = pbx.person_behind(leg.dialler) if leg.dialler else ""
    ring = Ring(leg.unique_id, at, dialler=leg.dialler, source=leg.source)
    name_queue(call, ring)
    if call.add("rings", call.rings, ring):
        note_transfer(call, ring)


def dialler_of(call: OpenCall, leg: Leg) -> str:
    """Return the channel that dialled another: a Local half that runs the dialplan, or a person in no bridge.

    After a transfer it is the transferee. CEL does not tell, so of several the likeliest is taken.
    """
    legs = [one for one in call.legs.values() if one is not leg and one.ended_at is None]
    if leg.kind == PERSON:
        halves = [one for one in legs if one.kind == LOCAL and one.channel.endswith(";2") and not one.bridge]
        if halves:
            diallers = {one.dialler for one in call.legs.values()}
            idle = [one for one in halves if one.unique_id not in diallers]
            return (idle or halves)[0].unique_id
    persons = [one for one in legs if one.kind == PERSON and (not one.is_dialled or one.answered_at is not None)]
    free = [one for one in persons if not one.bridge or one.is_holding]
    for transfer in reversed(call.transfers):
        if any(one.unique_id == transfer.transferee for one in free):
            return transfer.transferee
    return (free or persons)[0].unique_id if persons else ""


def answer_ring(pbx: Pbx, call: OpenCall, leg: Leg, at: datetime) -> None:
    """End the ring of a phone that answered."""
    ring = pbx.ring_of(call, leg.unique_id)
    if ring is not None and ring.ended_at is None:
        finish_ring(ring, "answered", at)
        pbx.touch(call, at)


def accept_call(pbx: Pbx, call: OpenCall, leg: Leg, at: datetime) -> None:
    """End the ring of a phone when Dial connects it, which may be after an acceptance menu or a screening."""
    ring = pbx.ring_of(call, leg.unique_id)
    has_talked = any(leg.unique_id in talk.persons and talk.started_at < at for talk in call.talks)
    if ring is not None and ring.outcome == "answered" and ring.ended_at == leg.answered_at and not has_talked:
        finish_ring(ring, "answered", at)


def mark_originated(call: OpenCall, leg: Leg) -> None:
    """Note on a channel that the PBX dialled it, and no channel; its ring began with it."""
    leg.is_dialled = leg.is_originated = True
    leg.dialler = leg.source = ""
    if leg.kind != PERSON:
        return
    ring = next((one for one in call.rings if one.to == leg.unique_id), None)
    if ring is not None:
        ring.dialler = ring.source = ""
    elif call.add("rings", call.rings, Ring(leg.unique_id, leg.started_at)):
        call.rings.sort(key=lambda one: one.started_at)


def refuse_ring(pbx: Pbx, call: OpenCall, leg: Leg, cause: int | None, at: datetime) -> None:
    """End the ring of a phone that hung up itself, as Asterisk names it (ast_hangup_cause_to_dial_status)."""
    ring = pbx.ring_of(call, leg.unique_id)
    if ring is not None and ring.ended_at is None:
        finish_ring(ring, BY_CAUSE.get(cause or 0, "no_answer"), at)


def correct_rings(call: OpenCall, leg: Leg, status: str, at: datetime) -> datetime | None:
    """Separate cancelled rings from those whose time was over, when the channel that dialled ends.

    Return when its hangup cancelled rings, None if it did not.

    DIALSTATUS is of its last dial; rings that ended before that one cannot have been cancelled by the hangup. Without
    it, a dialler who stayed for more than a second did not cancel them.
    """
    rings = [ring for ring in call.rings if leg.unique_id in {ring.dialler, ring.source} and ring.ended_at is not None]
    if status in REFUSALS:
        refuse_answer(call, rings, at)
    last = max((ring.ended_at for ring in rings if ring.ended_at is not None), default=at)
    for ring in rings:
        assert ring.ended_at is not None
        is_earlier = last - ring.ended_at > MOMENT or any(is_after(other, ring) for other in rings)
        # A person's own status is of his dial to a Local channel, whose other half dialled the phone.
        failures = FAILURES if ring.dialler == leg.unique_id else {"NOANSWER"}
        has_time_over = at - last > MOMENT if not status else status in failures
        if ring.outcome == "cancelled" and (is_earlier or has_time_over):
            ring.outcome = "no_answer"
    return last if status == "CANCEL" and rings else None


def refuse_answer(call: OpenCall, rings: list[Ring], at: datetime) -> None:
    """End the last ring as refused: that phone was up, but its person let the dialler not talk with him."""
    for ring in reversed(rings):
        if ring.outcome == "answered" and not any(ring.to in talk.persons for talk in call.talks):
            finish_ring(ring, "refused", call.legs[ring.to].ended_at or at)
            return


def end_late_ring(pbx: Pbx, call: OpenCall, leg: Leg, at: datetime) -> None:
    """End the ring of a phone whose dialler has hung up in an earlier line; his DIALSTATUS is that of this ring."""
    ring = pbx.ring_of(call, leg.unique_id)
    dialler = call.legs.get(ring.dialler) if ring is not None else None
    if ring is not None and ring.ended_at is None and dialler is not None and dialler.dialstatus in FAILURES:
        finish_ring(ring, "no_answer", at)


def free_half(pbx: Pbx, call: OpenCall, leg: Leg) -> None:
    """Note that no channel dialled a half of a Local channel: it enters a bridge as a person's consultation.

    Rings beyond it come from the person in that bridge, who may enter it later.
    """
    leg.is_dialled, leg.dialler, leg.source = False, "", ""
    for ring in call.rings:
        if ring.ended_at is None and ring.dialler == leg.other:
            ring.source = pbx.legs[ring.to].source = ""


def is_after(other: Ring, ring: Ring) -> bool:
    """Return whether a ring began with a later dial than another one; the two may share a second of a file.

    The line of a ring's end may come after that of the next one's start. If that one was answered, the dialler did not
    hang up.
    """
    if ring.ended_at is None or other.started_at <= ring.started_at:
        return False
    return other.started_at >= ring.ended_at or other.outcome == "answered"


def forward_ring(pbx: Pbx, call: OpenCall, leg: Leg, to: str, at: datetime) -> None:
    """Record that the phone that a channel dialled last gave another number."""
    rings = [ring for ring in reversed(call.rings) if ring.ended_at is None]
    rings.sort(key=lambda ring: leg.unique_id not in {ring.dialler, ring.source})
    for ring in rings[:1]:
        finish_ring(ring, "forwarded", at)
        call.add("forwards", call.forwards, Forward(at, ring.to, number_of(to)))
        pbx.touch(call, at)
