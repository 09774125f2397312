"""Which passages and rings of agents count, where queue_log and the story's own source both have some.

A passage of both is one: through the same queue, entered or answered at the same time, but for whole seconds. AMI's
counts, with microseconds and the agent's own talk, unless its beginning or end is not known.
CEL lacks the agent, so there queue_log's counts.
"""

from datetime import datetime

from msgspec.structs import replace

from projections.calls.story.call import OpenCall
from projections.calls.story.items import PERSON, Offer, Passage
from projections.calls.story.log_passage import NEAR, LogPassage
from projections.calls.story.people import caller_of
from schemas.call_settings import REFUSED

UNCERTAIN = {"", "cancelled"}
"""Outcomes of a ring that a lost link may have given it."""


def all_passages(call: OpenCall) -> list[Passage]:
    """Return the passages of a call that count, by the time of entry."""
    if not call.log_passages:
        return call.passages
    own, others = own_passages(call), added_passages(call)
    return sorted([*own, *(as_passage(call, one) for one in others)], key=lambda passage: passage.entered_at)


def own_passages(call: OpenCall) -> list[Passage]:
    """Return the passages of the story's own source that count."""
    return [mine for mine in call.passages if not any(replaces(call, one, mine) for one in call.log_passages)]


def added_passages(call: OpenCall) -> list[LogPassage]:
    """Return the passages of queue_log that count."""
    own = own_passages(call)
    return [one for one in call.log_passages if not any(is_same_passage(one, mine) for mine in own)]


def replaces(call: OpenCall, one: LogPassage, mine: Passage) -> bool:
    """Return whether queue_log's passage is the richer one: the story lacks the agent, or how the passage ended."""
    is_richer = call.source != "ami" or (is_partial(call, mine) and not one.is_open())
    return is_richer and is_same_passage(one, mine)


def is_partial(call: OpenCall, passage: Passage) -> bool:
    """Return whether the beginning or end of a passage is not known: there was no link, or a class is missing."""
    if passage.outcome == "unknown" or (passage.position is None and passage.outcome not in REFUSED):
        return True
    is_open = not passage.outcome or (passage.outcome == "answered" and passage.completed_at is None)
    return is_open and bool(call.gaps)


def all_offers(call: OpenCall) -> list[Offer]:
    """Return the rings of agents that count, by their end."""
    if not call.log_offers:
        return call.offers
    own, others = [with_wrapup(call, mine) for mine in own_offers(call)], added_offers(call)
    return sorted([*own, *others], key=lambda offer: offer.ended_at or offer.started_at) if others else own


def own_offers(call: OpenCall) -> list[Offer]:
    """Return the rings of the story's own source that count: queue_log's replace those whose end is not known."""
    return [mine for mine in call.offers if mine.outcome not in UNCERTAIN or not _has_better(call, mine)]


def added_offers(call: OpenCall) -> list[Offer]:
    """Return the rings of queue_log that count."""
    own = own_offers(call)
    return [one for one in call.log_offers if not any(is_same_offer(one, mine) for mine in own)]


def _has_better(call: OpenCall, mine: Offer) -> bool:
    certain = [other for other in call.offers if other.outcome not in UNCERTAIN]
    return any(
        one.outcome not in UNCERTAIN and is_same_offer(one, mine) and not any(is_same_offer(one, c) for c in certain)
        for one in call.log_offers
    )


def with_wrapup(call: OpenCall, mine: Offer) -> Offer:
    """Return a ring with the wrapup that queue_log has of it, which AMI lacks."""
    wrapup = max((one.wrapup for one in call.log_offers if one.wrapup and is_same_offer(one, mine)), default=0.0)
    return replace(mine, wrapup=max(mine.wrapup, wrapup)) if wrapup else mine


def is_same_passage(one: LogPassage, other: Passage | LogPassage) -> bool:
    """Return whether two sources have one passage."""
    if one.queue != other.queue:
        return False
    return is_near(one.entered_at, other.entered_at) or is_near(one.answered_at, other.answered_at)


def is_same_offer(one: Offer, other: Offer) -> bool:
    """Return whether two sources have one ring of an agent; the end of ``other`` may not be known."""
    if one.queue != other.queue or one.member not in {other.member, other.interface}:
        return False
    if other.outcome not in UNCERTAIN:
        return is_near(one.ended_at, other.ended_at)
    end = one.ended_at or one.started_at
    return other.started_at - NEAR <= end and (other.ended_at is None or one.started_at <= other.ended_at + NEAR)


def is_near(one: datetime | None, other: datetime | None) -> bool:
    """Return whether two times are one moment, but for whole seconds."""
    return one is not None and other is not None and abs(one - other) <= NEAR


def as_passage(call: OpenCall, one: LogPassage) -> Passage:
    """Return a passage of queue_log as one of the call; the end of a call ends it too."""
    party = one.call_id
    leg = call.legs.get(party)
    if leg is None or leg.kind != PERSON:
        caller = caller_of(call)
        party = caller.unique_id if caller is not None else party
    passage = Passage(
        one.queue,
        party,
        one.call_id,
        one.entered_at,
        one.position,
        one.left_at,
        one.wait,
        one.answered_at,
        one.completed_at,
        one.talk,
        one.outcome,
        member=one.member,
        agent=agent_of(call, one, party),
        ended_by=one.ended_by,
        key=one.key,
        ring_no_answers=one.ring_no_answers,
        log=one,
    )
    if not passage.outcome and call.legs and all(leg.ended_at is not None for leg in call.legs.values()):
        passage.outcome = "unknown"
    return passage


def agent_of(call: OpenCall, one: LogPassage, party: str) -> str:
    """Return the agent: whose channel answered, or who first talked with the caller through that Local channel."""
    if one.answered_at is None:
        return ""
    leg = call.legs.get(one.agent())
    if leg is not None and leg.kind == PERSON:
        return one.agent()
    for talk in call.talks:
        if party in talk.persons and (talk.ended_at is None or talk.ended_at > one.answered_at):
            return next((person for person in talk.persons if person != party), "")
    return ""
