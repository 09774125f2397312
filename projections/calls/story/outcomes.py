"""What became of a call and of its transfers, who hung up, and the state of a call that lasts."""

from datetime import datetime, timedelta
from typing import Literal

from projections.calls.story.call import PERSON, Leg, OpenCall, Transfer, by_age
from projections.calls.story.people import role_of
from schemas import calls as wire

MOMENT = timedelta(seconds=1)

BUSY, NO_ANSWER, CONGESTION = {17, 21}, {18, 19}, {34, 38, 41, 42, 44}
FAILED = {1, 3, 20, 27, 28, 58, 88}
"""Hangup causes (Q.850) of the caller's channel."""

OF_RINGS: dict[str, Literal["answered", "busy", "no_answer", "cancelled", "failed"]] = {
    "answered": "no_answer",
    "busy": "busy",
    "refused": "busy",
    "no_answer": "no_answer",
    "cancelled": "cancelled",
    "elsewhere": "cancelled",
    "picked_up": "cancelled",
    "forwarded": "no_answer",
    "congestion": "failed",
    "unavailable": "failed",
}
"""Outcomes of a transfer by that of the last ring for it; a phone that answered without a talk did not take it."""


def outcome_of(call: OpenCall, caller: Leg | None) -> wire.Outcome:
    """Return the outcome of an ended call."""
    if call.talks:
        return "answered"
    for passage in reversed(call.passages):
        if passage.outcome == "abandoned":
            return "abandoned"
        if passage.outcome == "timeout":
            return "timeout"
        break
    leg = caller or first_person(call)
    if call.is_lost or leg is None:
        return "unknown"
    cause = leg.cause or 0
    if cause in BUSY:
        return "busy"
    if cause in NO_ANSWER:
        return "no_answer"
    if cause in CONGESTION:
        return "congestion"
    if cause in FAILED:
        return "failed"
    if any(is_pending_cancelled(ring.ended_at, ring.outcome, leg) for ring in call.rings):
        return "cancelled"
    return "pbx_only" if leg is caller and leg.answered_at is not None else "no_answer"


def is_pending_cancelled(ended_at: datetime | None, outcome: str, leg: Leg) -> bool:
    """Return whether an attempt was pending when the caller went, and ended with that."""
    gone_at = leg.requested_at or leg.ended_at
    return outcome == "cancelled" and ended_at is not None and gone_at is not None and ended_at >= gone_at - MOMENT


def first_person(call: OpenCall) -> Leg | None:
    """Return the first channel of a person."""
    legs = [leg for leg in call.legs.values() if leg.kind == PERSON]
    return min(legs, key=lambda leg: (leg.started_at, by_age(leg.unique_id)), default=None)


def hangup_of(call: OpenCall, caller: Leg | None) -> tuple[datetime | None, str | None, str, Leg | None]:
    """Return (when, by, unique id of who hung up, leg whose cause counts).

    After a conversation it is who of its persons first requested the hangup; before one only the caller can.
    """
    last = max(call.talks, key=lambda talk: (talk.ended_at or talk.started_at, talk.started_at), default=None)
    ids = [caller.unique_id] if caller is not None else []
    if last is not None:
        ids = [person for person in last.persons if person in call.legs]
    legs = [call.legs[unique_id] for unique_id in ids]
    until = None if last is None or last.ended_at is None else last.ended_at + MOMENT
    asked = [leg for leg in legs if leg.requested_at is not None and (until is None or leg.requested_at <= until)]
    first = caller or first_person(call)
    if call.is_lost and not asked:
        return None, None, "", None
    if asked:
        leg = min(asked, key=lambda leg: leg.requested_at or leg.started_at)
        by = "caller" if role_of(call, caller, leg.unique_id) == "caller" else "callee"
        return leg.requested_at, by, leg.unique_id, leg
    ended = max((leg.ended_at for leg in call.legs.values() if leg.ended_at is not None), default=None)
    at = first.ended_at if first is not None and last is None else None if last is None else last.ended_at
    return at or ended, "pbx", "", first


def transfer_outcome(
    call: OpenCall, transfer: Transfer
) -> Literal["answered", "busy", "no_answer", "cancelled", "failed"] | None:
    """Return what became of a transfer: answered once the transferee talks with somebody but the transferer."""
    whom = transfer.transferee
    for talk in call.talks:
        is_after = talk.ended_at is None or talk.ended_at > transfer.at
        if is_after and whom in talk.persons and transfer.by not in talk.persons:
            return "answered"
    if transfer.kind == "attended" and transfer.to:
        return "answered"
    rings = [ring for ring in call.rings if ring.to in transfer.to]
    if any(ring.ended_at is None for ring in rings):
        return None
    return OF_RINGS.get(rings[-1].outcome) if rings else None


def state_of(call: OpenCall) -> wire.State:
    """Return the state of a call that lasts."""
    talking = {person for talk in call.talks if talk.ended_at is None for person in talk.persons}
    if talking:
        is_held = any(held.ended_at is None and held.by in talking for held in call.holds)
        return "held" if is_held else "talking"
    if any(stay.ended_at is None for stay in call.parks):
        return "parked"
    if any(not passage.outcome and passage.left_at is None for passage in call.passages):
        return "waiting"
    rings = [ring for ring in call.rings if ring.ended_at is None]
    if rings:
        return "ringing" if any(ring.ringing_at is not None for ring in rings) else "dialling"
    return "pbx"
