"""The story of a call that only queue_log has: its persons, rings, talks and transfers follow from its passages.

The file names no channel but by unique id. A call begins with the second in its unique id, since the caller came to
the PBX before the queue. It is over while none of its passages is open; a later line may continue it.
"""

from datetime import datetime

from projections.calls.story.call import OpenCall
from projections.calls.story.items import Leg, Ring, Talk, Transfer
from projections.calls.story.legs import began_at, join_call
from projections.calls.story.log_passage import LogPassage


def is_over(call: OpenCall) -> bool:
    """Return whether no caller of the call waits or talks, as far as the lines tell."""
    return not any(passage.is_open() for passage in call.log_passages)


def write_story(call: OpenCall) -> None:
    """Make everything of the call that follows from its passages and offers."""
    call.legs, call.rings, call.talks, call.transfers, call.persons = {}, [], [], [], 0
    first = min((p.entered_at for p in call.log_passages), default=call.updated_at)
    first = min([first, *(offer.started_at for offer in call.log_offers)])
    end = last_time(call, first) if is_over(call) else None
    for unique_id in dict.fromkeys([passage.call_id for passage in call.log_passages] or [call.linkedid]):
        own = [passage for passage in call.log_passages if passage.call_id == unique_id]
        entered = min((passage.entered_at for passage in own), default=first)
        leg = Leg(unique_id, "", min(began_at(unique_id, entered), entered), [unique_id], is_fixed=True, ended_at=end)
        leg.number = next((passage.number for passage in own if passage.number), "")
        call.legs[unique_id] = leg
    for passage in call.log_passages:
        if passage.answered_at is not None:
            _add_agent(call, passage)
        elif passage.outcome == "abandoned":
            call.legs[passage.call_id].requested_at = passage.left_at
    call.up = sum(leg.ended_at is None for leg in call.legs.values())
    call.gaps = [gap for gap in call.gaps if gap.reason != "joined"]
    if not call.log_passages or not all(passage.has_entry for passage in call.log_passages):
        join_call(call, first)


def last_time(call: OpenCall, first: datetime) -> datetime:
    """Return the last time of the call that a line gives."""
    times = [first]
    for passage in call.log_passages:
        times += [time for time in (passage.left_at, passage.completed_at) if time is not None]
    return max([*times, *(offer.ended_at for offer in call.log_offers if offer.ended_at is not None)])


def _add_agent(call: OpenCall, passage: LogPassage) -> None:
    """Add an agent who answered: his ring, his talk with the caller, and how it ended."""
    start, end, agent, caller = passage.answered_at, passage.completed_at, passage.agent(), passage.call_id
    assert start is not None
    rang = start if passage.ring is None else max(passage.rang_at(), passage.entered_at)
    is_interface = "/" in passage.member
    call.legs[agent] = Leg(
        agent,
        passage.member if is_interface else "",
        rang,
        [call.linkedid],
        name="" if is_interface else passage.member,
        is_dialled=True,
        dialler=caller,
        source=caller,
        queue=passage.queue,
        answered_at=start,
        ended_at=end,
        requested_at=end if passage.ended_by == "agent" else None,
    )
    if passage.ended_by == "caller":
        call.legs[caller].requested_at = end
    if passage.ring is not None:
        call.rings.append(
            Ring(agent, rang, caller, caller, queue=passage.queue, ended_at=start, outcome="answered"),
        )
    call.add_talk(Talk(sorted((caller, agent)), start, end))
    if passage.ended_by == "transfer" and end is not None:
        kind = "attended" if passage.method == "ATTENDEDTRANSFER" else "blind"
        call.transfers.append(Transfer(kind, end, agent, caller, number=passage.exten, context=passage.context))
