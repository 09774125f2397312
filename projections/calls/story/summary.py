"""The members that the object of a call and its row have in common: times, ids, sources."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from projections.calls.story.call import OpenCall, by_wealth
from projections.calls.story.items import PERSON, Talk
from projections.calls.story.people import by_start
from schemas import calls as wire


def started_at(call: OpenCall) -> datetime:
    """Return the start of the first leg."""
    return min((leg.started_at for leg in call.legs.values()), default=call.updated_at)


def ended_at(call: OpenCall) -> datetime | None:
    """Return the end of the last leg, None while a leg lasts and where there is none."""
    ends = [leg.ended_at for leg in call.legs.values()]
    return None if None in ends else max((end for end in ends if end is not None), default=None)


def seconds(start: datetime, end: datetime | None) -> float | None:
    """Return the seconds between two times, None while the second is open."""
    return None if end is None else round((end - start).total_seconds(), 6)


def talk_seconds(talks: Iterable[Talk]) -> float:
    """Return the seconds in which there was one of these talks that have ended; two at once count once."""
    total, until = timedelta(), None
    for talk in sorted(talks, key=lambda talk: talk.started_at):
        if talk.ended_at is None:
            continue
        start = talk.started_at if until is None else max(talk.started_at, until)
        if talk.ended_at > start:
            total += talk.ended_at - start
        until = talk.ended_at if until is None else max(until, talk.ended_at)
    return round(total.total_seconds(), 6)


def is_originated(call: OpenCall) -> bool:
    """Return whether the PBX itself dialled the first leg."""
    first = min(call.legs.values(), key=by_start, default=None)
    return first is not None and first.is_originated


def aliases_of(call: OpenCall) -> list[str]:
    """Return the linked ids that became part of the call, the oldest first."""
    return sorted((*call.aliases, *call.inherited), key=call.age_of)


def sources_of(call: OpenCall) -> list[wire.Source]:
    """Return the sources of the story, the richest first."""
    return by_wealth((call.source, *call.others))  # type: ignore[return-value]


def has_person(call: OpenCall) -> bool:
    """Return whether a person takes part; a call without one is not served."""
    return any(leg.kind == PERSON for leg in call.legs.values())
