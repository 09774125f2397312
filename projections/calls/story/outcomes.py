"""Outcomes of calls and transfers, roles of persons, and the state of a call that lasts."""

from datetime import datetime, timedelta
from typing import Literal

from projections.calls.call_records import endpoint_of
from projections.calls.story.call import OpenCall
from projections.calls.story.items import Leg, Transfer
from projections.calls.story.log_overlap import all_passages
from projections.calls.story.people import first_person, is_same_phone
from schemas import calls as wire

MOMENT, AT_ONCE = timedelta(seconds=1), timedelta(milliseconds=100)
CLOCK = timedelta(milliseconds=10)
"""How far times of events in order may go back: up to 1.8 ms were seen."""

BUSY, NO_ANSWER, CONGESTION = {17, 21}, {18, 19}, {34, 38, 41, 42, 44}
FAILED = {1, 3, 20, 27, 28, 58, 88}
"""Hangup causes (Q.850) of the caller's channel."""

OF_DISPOSITIONS: dict[str, wire.Outcome] = {
    "BUSY": "busy",
    "NO ANSWER": "no_answer",
    "CONGESTION": "congestion",
    "FAILED": "failed",
}
"""Outcomes of a call without a conversation, by the disposition of the caller's last call record."""

OF_RECORDED_RINGS: dict[str, wire.Outcome] = {
    "busy": "busy",
    "no_answer": "no_answer",
    "congestion": "congestion",
    "unavailable": "failed",
}
"""The same by the last ring of the records."""

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
    for passage in reversed(all_passages(call)):
        if passage.outcome == "abandoned":
            return "abandoned"
        if passage.outcome == "timeout":
            return "timeout"
        break
    leg = caller or first_person(call)
    if call.is_lost or leg is None or call.source == "queue_log":
        return "unknown"
    if call.source == "cdr":
        return of_records(call, leg)
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


def of_records(call: OpenCall, leg: Leg) -> wire.Outcome:
    """Return the outcome of a call that only records have: that of the last ring, or else of the last record."""
    for ring in reversed(call.rings):
        if (outcome := OF_RECORDED_RINGS.get(ring.outcome)) is not None:
            return outcome
    return OF_DISPOSITIONS.get(leg.cause_text, "unknown" if leg.answered_at is None else "pbx_only")


def is_pending_cancelled(ended_at: datetime | None, outcome: str, leg: Leg) -> bool:
    """Return whether an attempt was pending when the caller went, and ended with that."""
    gone_at = leg.requested_at or leg.ended_at
    return outcome == "cancelled" and ended_at is not None and gone_at is not None and ended_at >= gone_at - MOMENT


def transfer_outcome(
    call: OpenCall, transfer: Transfer
) -> Literal["answered", "busy", "no_answer", "cancelled", "failed"] | None:
    """Return the outcome of a transfer: answered once the transferee talks with somebody but the transferer."""
    whom = transfer.transferee
    for talk in call.talks:
        is_after = talk.ended_at is None or talk.ended_at > transfer.at
        if is_after and whom in talk.persons and not any(is_same_phone(call, transfer.by, p) for p in talk.persons):
            return "answered"
    if transfer.kind == "attended" and transfer.to:
        return "answered"
    rings = [ring for ring in call.rings if ring.to in transfer.to]
    if any(ring.ended_at is None for ring in rings):
        return None
    if not rings:
        return of_cause(call.legs.get(whom), transfer.at)
    outcome, gone = OF_RINGS.get(rings[-1].outcome), call.legs.get(whom)
    if outcome == "cancelled" and rings[-1].ended_at is not None:
        # The PBX's own timer cancels a ring too: only the transferee's hangup before it is one.
        return "cancelled" if gone is not None and is_gone(gone, rings[-1].ended_at) else "no_answer"
    return outcome


def is_gone(leg: Leg, at: datetime) -> bool:
    """Return whether a person had hung up when a ring for him ended. His channel may end after its phone's ring."""
    if leg.requested_at is not None:
        return leg.requested_at <= at + CLOCK
    return leg.ended_at is not None and leg.ended_at <= at + AT_ONCE


def of_cause(leg: Leg | None, at: datetime) -> Literal["busy", "no_answer", "failed"] | None:
    """Return the outcome of a transfer for which no phone rang, by the cause with which the transferee ended."""
    if leg is None or leg.ended_at is None or leg.ended_at < at:
        return None
    cause = leg.cause or 0
    if cause in FAILED or cause in CONGESTION:
        return "failed"
    return "busy" if cause in BUSY else "no_answer" if cause in NO_ANSWER else None


def role_of(call: OpenCall, caller: Leg | None, unique_id: str) -> Literal["caller", "callee", "agent"]:
    """Return a person's role; a second leg of the caller's own phone, with his number, is the caller's too."""
    if any(passage.agent == unique_id for passage in all_passages(call)):
        return "agent"
    if unique_id in call.guests and call.guests[unique_id].is_agent:
        return "agent"
    leg = call.legs.get(unique_id)
    if caller is None or leg is None:
        return "callee"
    is_second = not leg.is_dialled and endpoint_of(leg.channel) == endpoint_of(caller.channel)
    is_caller = leg is caller or (is_second and leg.first_number == caller.first_number)
    return "caller" if is_caller else "callee"


def state_of(call: OpenCall) -> wire.State:
    """Return the state of a call that lasts."""
    talking = {person for talk in call.talks if talk.ended_at is None for person in talk.persons}
    if talking:
        is_held = any(hold.ended_at is None and hold.by in talking for hold in call.holds)
        return "held" if is_held else "talking"
    if any(stay.ended_at is None for stay in call.parks):
        return "parked"
    if any(not passage.outcome and passage.left_at is None for passage in all_passages(call)):
        return "waiting"
    rings = [ring for ring in call.rings if ring.ended_at is None]
    if rings:
        return "ringing" if any(ring.ringing_at is not None for ring in rings) else "dialling"
    return "pbx"
