"""The story of a call that only call records have: Asterisk writes one for each pair of channels.

A record names the second channel without its unique id. Until another record has that, the channel's name stands for
it. A record of a half of a Local channel is one end of a chain: its caller is the caller of the call.
"""

from collections.abc import Iterator
from datetime import datetime

from projections.calls.story.call import OpenCall
from projections.calls.story.items import LOCAL, PERSON, Leg, Ring, Talk, kind_of
from projections.calls.story.legs import DIALABLE
from projections.calls.story.people import caller_of
from projections.engine.pbx_clock import Times
from schemas.ami.cdr import Cdr

ANSWERED = "ANSWERED"
DIALS = {"Dial", "FollowMe", "Page", "Queue", "RetryDial"}
"""Applications that dial the second channel; others join two channels that are up."""
RING_OUTCOMES = {
    ANSWERED: "answered",
    "BUSY": "busy",
    "NO ANSWER": "no_answer",
    "CONGESTION": "congestion",
    "FAILED": "unavailable",
}
"""The outcome of a ring by the disposition of its record."""


def take_record(call: OpenCall, e: Cdr, when: Times) -> None:
    """Add a record to its call; ``when`` has the record's times in UTC."""
    leg = _caller_leg(call, e, when)
    if not e.destination_channel:
        _join_halves(call)
        return
    to = _second_leg(call, e, when)
    if to.kind == PERSON and (leg.kind == PERSON or is_half(leg)):
        source = leg.unique_id if leg.kind == PERSON else ""
        start = when.answer or when.end
        if e.last_application in DIALS:
            outcome = RING_OUTCOMES.get(e.disposition, "")
            call.add("rings", call.rings, Ring(to.unique_id, when.start, source, source, "", "", None, start, outcome))
            call.rings.sort(key=lambda ring: (ring.started_at, ring.ended_at or when.end, call.legs[ring.to].channel))
        if source and e.disposition == ANSWERED and e.billable_seconds > 0:
            _add_talk(call, Talk(sorted((source, to.unique_id)), start, when.end))
    _join_halves(call)
    _mark_others(call)


def is_half(leg: Leg) -> bool:
    """Return whether a leg is the half of a Local channel that dials on."""
    return leg.kind == LOCAL and leg.channel.endswith(";2")


def _caller_leg(call: OpenCall, e: Cdr, when: Times) -> Leg:
    """Return the leg of a record's first channel, with what the record has of it."""
    unique_id = e.unique_id or e.channel
    leg = call.legs.get(unique_id)
    if leg is None and (same := call.legs.get(e.channel)) is not None:
        leg = _give_unique_id(call, same, unique_id)
    if leg is None:
        leg = Leg(unique_id, e.channel, when.start, [e.linked_id or unique_id], kind=kind_of(e.channel), is_fixed=True)
        call.legs[unique_id] = leg
    is_first = when.start <= leg.started_at or not leg.number
    _spread(leg, when)
    if e.disposition == ANSWERED and not leg.is_dialled:
        leg.answered_at = min(when.answer or when.start, leg.answered_at or when.end)
    if when.end >= (leg.ended_at or when.end):
        leg.cause_text = e.disposition
    if is_first and not leg.is_dialled:
        leg.number, leg.name = e.source, name_of(e.caller_id)
        leg.number_at_start, leg.name_at_start = leg.number, leg.name
        if DIALABLE.fullmatch(e.destination):
            leg.exten, leg.context = e.destination, e.destination_context
    return leg


def _second_leg(call: OpenCall, e: Cdr, when: Times) -> Leg:
    """Return the leg of a record's second channel."""
    leg = _by_name(call, e.destination_channel)
    if leg is None:
        name = e.destination_channel
        leg = Leg(name, name, when.start, [e.linked_id or e.unique_id], kind=kind_of(name), is_fixed=True)
        call.legs[name] = leg
    if e.last_application in DIALS:
        leg.is_dialled = True
        leg.source = leg.dialler = e.unique_id or e.channel
    _spread(leg, when)
    if e.disposition == ANSWERED:
        answer = when.answer or when.start
        leg.answered_at = min(answer, leg.answered_at or answer)
    return leg


def _spread(leg: Leg, when: Times) -> None:
    leg.started_at = min(leg.started_at, when.start)
    leg.ended_at = max(leg.ended_at or when.end, when.end)


def _by_name(call: OpenCall, channel: str) -> Leg | None:
    return next((leg for leg in call.legs.values() if leg.channel == channel), None)


def _give_unique_id(call: OpenCall, leg: Leg, unique_id: str) -> Leg:
    """Replace the name in the place of a channel's unique id."""
    name = leg.unique_id
    call.legs = {unique_id if one == name else one: value for one, value in call.legs.items()}
    leg.unique_id = unique_id
    for ring in call.rings:
        ring.to = unique_id if ring.to == name else ring.to
        ring.source = unique_id if ring.source == name else ring.source
    for talk in call.talks:
        talk.persons = sorted(unique_id if person == name else person for person in talk.persons)
    return leg


def _add_talk(call: OpenCall, talk: Talk) -> None:
    if talk not in call.talks:
        call.add_talk(talk)
        call.talks.sort(key=lambda one: one.started_at)


def _join_halves(call: OpenCall) -> None:
    """Name the caller of rings that a half of a Local channel made, and let him talk with who answered."""
    caller = caller_of(call)
    if caller is None:
        return
    for ring in call.rings:
        if ring.source or ring.to == caller.unique_id:
            continue
        ring.source = ring.dialler = caller.unique_id
        phone = call.legs[ring.to]
        phone.source = caller.unique_id
        if ring.outcome == "answered" and phone.answered_at is not None and caller.answered_at is not None:
            start, end = max(phone.answered_at, caller.answered_at), min(ends_of(phone, caller))
            if start < end:
                _add_talk(call, Talk(sorted((caller.unique_id, phone.unique_id)), start, end))


def ends_of(*legs: Leg) -> Iterator[datetime]:
    """Yield the ends of legs of records."""
    for leg in legs:
        if leg.ended_at is not None:
            yield leg.ended_at


def _mark_others(call: OpenCall) -> None:
    """Mark rings as answered elsewhere, by another phone of the same dial. Asterisk writes NO ANSWER for them."""
    for ring in call.rings:
        if ring.outcome == "no_answer":
            same = [one for one in call.rings if (one.source, one.started_at) == (ring.source, ring.started_at)]
            if any(one.outcome == "answered" and one.ended_at is not None for one in same):
                ring.outcome = "elsewhere"


def name_of(caller_id: str) -> str:
    """Return the name in a caller id such as ``"Alice Abel" <100>``."""
    name, _, rest = caller_id.rpartition(" <")
    return name.strip('"') if rest.endswith(">") else ""
