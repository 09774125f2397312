"""The hangup of a call: its time, its party and its cause."""

from datetime import datetime

from projections.calls.story.call import OpenCall
from projections.calls.story.items import PERSON, Leg, Talk
from projections.calls.story.log_overlap import all_passages
from projections.calls.story.outcomes import AT_ONCE, MOMENT, role_of
from projections.calls.story.people import first_person


def hangup_of(call: OpenCall, caller: Leg | None) -> tuple[datetime | None, str | None, str, Leg | None]:
    """Return (when, by, unique id of who hung up, leg whose cause counts).

    After a conversation it is who of its persons first requested the hangup; before one only the caller can.
    A person who transferred the call last has left it, and has not ended it.
    """
    last = max((talk.ended_at for talk in call.talks if talk.ended_at is not None), default=None)
    gone = set() if last is None else {t.by for t in call.transfers if t.at >= last - AT_ONCE}
    legs = [leg for leg in call.legs.values() if leg.unique_id not in gone]
    persons = [leg for leg in legs if leg.kind == PERSON and leg.ended_at is not None]
    if last is None:
        persons = [caller] if caller is not None else []
    else:
        # A person who stayed after the last conversation, in a parking lot or with the PBX, ended the call.
        stayed = [leg for leg in persons if (end := leg.hung_up_at or leg.ended_at) is not None and end > last + MOMENT]
        stayed = [leg for leg in stayed if leg.requested_at is None or leg.requested_at > last + MOMENT]
        talked = {person for talk in last_talks(call, last) for person in talk.persons}
        stayed += [leg for leg in persons if leg not in stayed and gave_up(call, leg.unique_id, last)]
        persons = stayed or [leg for leg in persons if leg.unique_id in talked]
        last = max(leg.ended_at for leg in stayed if leg.ended_at is not None) if stayed else last
    requests = [
        leg for leg in persons if leg.requested_at is not None and (last is None or leg.requested_at <= last + MOMENT)
    ]
    first = caller or first_person(call)
    if requests:
        leg = min(requests, key=lambda leg: leg.requested_at or leg.started_at)
        by = "caller" if role_of(call, caller, leg.unique_id) == "caller" else "callee"
        return leg.requested_at, by, leg.unique_id, leg
    if call.is_lost or call.source == "queue_log":
        return None, None, "", None
    if call.source == "cdr":
        return (
            max((leg.ended_at for leg in call.legs.values() if leg.ended_at is not None), default=None),
            None,
            "",
            first,
        )
    last_passage = next(reversed(all_passages(call)), None)
    if last_passage is not None and last_passage.ended_by == "agent" and last_passage.agent in call.guests:
        # The channel of a logged-in agent stays: only the queue reports that he ended the call.
        return last_passage.completed_at, "callee", last_passage.agent, first
    at = last or (first.ended_at if first is not None else None)
    return at or call.updated_at, "pbx", "", first


def gave_up(call: OpenCall, person: str, last: datetime) -> bool:
    """Return whether a person hung up in a parking lot or a queue after the last conversation."""
    stays = [(stay.party, stay.outcome, stay.ended_at) for stay in call.parks]
    waits = [(passage.party, passage.outcome, passage.left_at) for passage in call.passages]
    return any(
        party == person and outcome in {"gave_up", "abandoned"} and end is not None and end >= last
        for party, outcome, end in stays + waits
    )


def last_talks(call: OpenCall, last: datetime) -> list[Talk]:
    """Return the talks with which the call ended, at ``last``.

    Where three or more talk and one hangs up, the others do so for some milliseconds longer. A talk of other
    persons just before, as of a transfer, does not count.
    """
    final = [set(talk.persons) for talk in call.talks if talk.ended_at == last]
    return [
        talk
        for talk in call.talks
        if talk.ended_at is not None
        and talk.ended_at >= last - AT_ONCE
        and any(persons.issubset(talk.persons) for persons in final)
    ]
