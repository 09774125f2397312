"""The persons of a call: the caller, the persons dialled, and agents who are logged in."""

from collections.abc import Iterator
from datetime import datetime

from projections.calls.call_records import endpoint_of
from projections.calls.story.call import OpenCall
from projections.calls.story.ids import by_age
from projections.calls.story.items import PERSON, Leg
from schemas.call_settings import is_trunk


def by_start(leg: Leg) -> tuple[datetime, tuple[int, int, str]]:
    """Return the key that sorts channels by their start, at once by their age."""
    return leg.started_at, by_age(leg.unique_id)


def caller_of(call: OpenCall) -> Leg | None:
    """Return the first channel of a person that no person dialled; one that the PBX dialled only once it is up."""
    first = None
    for leg in call.legs.values():
        if not is_like_caller(leg):
            continue
        if first is None or by_start(leg) < by_start(first):
            first = leg
    return first


def is_like_caller(leg: Leg) -> bool:
    """Return whether a channel is the caller's, if none before it is."""
    if not leg.is_dialled:
        return leg.kind == PERSON
    is_reached = not leg.source and leg.answered_at is not None
    return leg.kind == PERSON and is_reached and (leg.is_originated or bool(leg.dialler))


def persons_of(call: OpenCall) -> Iterator[tuple[str, datetime, datetime | None]]:
    """Yield each person's unique id, and since when until when he took part."""
    legs = [leg for leg in call.legs.values() if leg.kind == PERSON]
    for leg in sorted(legs, key=by_start):
        yield leg.unique_id, leg.started_at, leg.ended_at
    for unique_id, guest in call.guests.items():
        talks = [talk for talk in call.talks if unique_id in talk.persons]
        if guest.is_agent and talks:
            ends = [talk.ended_at for talk in talks]
            left = None if None in ends else max(end for end in ends if end is not None)
            yield unique_id, min(talk.started_at for talk in talks), left


def first_person(call: OpenCall) -> Leg | None:
    """Return the first channel of a person."""
    legs = [leg for leg in call.legs.values() if leg.kind == PERSON]
    return min(legs, key=by_start, default=None)


def is_same_phone(call: OpenCall, one: str, other: str) -> bool:
    """Return whether two channels are of one endpoint: a transferer is called back on another channel.

    Many persons share a trunk, so their numbers must be equal too.
    """
    first, second = call.legs.get(one), call.legs.get(other)
    if one == other or first is None or second is None:
        return one == other
    endpoint = endpoint_of(first.channel) or ""
    if endpoint != endpoint_of(second.channel):
        return False
    return not is_trunk(endpoint, call.trunks) or first.first_number == second.first_number
