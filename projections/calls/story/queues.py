"""Passages through queues, from the events of class agent (app_queue.c of Asterisk 16 and 22).

QueueCallerLeave comes before AgentConnect, and QueueCallerAbandon does not say why. So a passage whose caller has left
waits for the next event of the caller that decides: AgentConnect, VarSet QUEUESTATUS, Newexten, or his hangup.
"""

from datetime import datetime, timedelta

from projections.calls.story.call import OpenCall
from projections.calls.story.items import PERSON, Leg, Passage
from projections.calls.story.late import caller_of_completion, complete_ended, key_of
from projections.calls.story.legs import fix_number, take_extension
from projections.calls.story.offers import conclude_offer
from projections.calls.story.pbx import Pbx
from schemas.ami import call as ami
from schemas.ami.channel import NewExten, VarSet

STATUS = {
    "TIMEOUT": "timeout",
    "WITHDRAW": "withdrawn",
    "LEAVEEMPTY": "left_empty",
    "LEAVEUNAVAIL": "left_empty",
    "FULL": "full",
    "JOINEMPTY": "join_empty",
    "JOINUNAVAIL": "join_empty",
}
"""Outcomes by QUEUESTATUS; CONTINUE is that of an answered caller who continues in the dialplan."""

NOT_JOINED = {"full", "join_empty"}
ENDED_BY = {"caller", "agent", "transfer"}


def join_queue(pbx: Pbx, e: ami.QueueCallerJoin) -> None:
    """Begin a passage."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        return
    leg = pbx.legs[e.unique_id]
    if leg.ended_at is not None:
        return
    if is_doubled(call, e.unique_id, e.queue, e.at):
        return
    settle_passage(pbx, call, leg, e.at)
    fix_number(leg)
    take_extension(call, leg, e.exten, e.context)
    party = caller_behind(pbx, leg)
    passage = Passage(e.queue, party, e.unique_id, e.at, e.position_in_queue, exten=e.exten)
    call.add("passages", call.passages, passage)
    leg.app_queue = ""
    pbx.touch(call, e.at)


def is_doubled(call: OpenCall, channel: str, queue: str, at: datetime) -> bool:
    """Return whether an event that begins a passage has come before."""
    return any((p.channel, p.queue, p.entered_at) == (channel, queue, at) for p in call.passages)


def caller_behind(pbx: Pbx, leg: Leg) -> str:
    """Return the person who waits on a channel: the one behind it, where it is half of a Local channel."""
    party = pbx.person_behind(leg.unique_id) or leg.unique_id
    fix_number(pbx.legs[party])
    return party


def passage_of(call: OpenCall, channel: str, queue: str) -> Passage | None:
    """Return the last passage of a caller in a queue; of anybody in it where the caller's channel has changed."""
    match = None
    for passage in reversed(call.passages):
        if passage.queue == queue:
            if passage.channel == channel:
                return passage
            if match is None and passage.completed_at is None and passage.outcome in {"", "answered"}:
                match = passage
    return match


def find_passage(pbx: Pbx, e: ami.QueueCallerEvent) -> tuple[OpenCall, Passage] | None:
    """Return the passage that an event is about, and its call."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        return None
    passage = passage_of(call, e.unique_id, e.queue)
    if passage is None:
        return None
    name_caller(pbx, passage)
    return call, passage


def name_caller(pbx: Pbx, passage: Passage) -> None:
    """Find the person behind the channel that waits, if he was not there when it entered the queue."""
    if passage.party in pbx.legs and pbx.legs[passage.party].kind != PERSON:
        passage.party = pbx.person_behind(passage.channel) or passage.party


def begin_late(pbx: Pbx, e: ami.QueueCallerAbandon) -> tuple[OpenCall, Passage] | None:
    """Begin a passage whose QueueCallerJoin is missing: the event counts its seconds."""
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None or (leg := pbx.legs[e.unique_id]).ended_at is not None:
        return None
    passage = Passage(e.queue, caller_behind(pbx, leg), e.unique_id, e.at - seconds(e.hold_time))
    return (call, passage) if call.add("passages", call.passages, passage) else None


def leave_queue(pbx: Pbx, e: ami.QueueCallerLeave) -> None:
    """Note that a caller left; the next event decides why."""
    if (match := find_passage(pbx, e)) is None:
        return
    call, passage = match
    if passage.left_at is None:
        passage.left_at = e.at
        if not passage.outcome and (leg := pbx.legs.get(passage.channel)) is not None:
            leg.is_leaving = True
        pbx.touch(call, e.at)


def abandon_queue(pbx: Pbx, e: ami.QueueCallerAbandon) -> None:
    """Note that a caller left without an agent: he hung up if his hangup was requested before, and no AMI Redirect."""
    match = find_passage(pbx, e) or begin_late(pbx, e)
    if match is None:
        return
    call, passage = match
    if passage.outcome or passage.gave_up:
        return
    passage.gave_up = True
    passage.wait = float(e.hold_time)
    if pbx.legs[e.unique_id].requested_at is not None:
        passage.outcome = "abandoned"
    elif passage.is_redirected:
        passage.outcome = "unknown"
    elif (leg := pbx.legs.get(passage.channel)) is not None:
        leg.is_leaving = True
    pbx.touch(call, e.at)


def miss_call(pbx: Pbx, e: ami.AgentRingNoAnswer) -> None:
    """Count a member who did not answer."""
    if (match := find_passage(pbx, e)) is None:
        return
    call, passage = match
    if any(one.channel == e.dest_unique_id and one.outcome and one.ended_at == e.at for one in call.offers):
        return  # the event is doubled
    passage.ring_no_answers += 1
    conclude_offer(call, e, "ring_no_answer", timedelta(milliseconds=min(max(e.ring_time, 0), 1 << 31)))
    pbx.touch(call, e.at)


def connect_member(pbx: Pbx, e: ami.AgentConnect) -> None:
    """Connect a caller with a member; a passage without QueueCallerJoin began ``hold_time`` seconds before."""
    pbx.served.pop(key_of(e.queue, e.interface), None)
    call = pbx.see(e.unique_id, e.linked_id, e.at)
    if call is None:
        return
    leg = pbx.legs[e.unique_id]
    passage = passage_of(call, e.unique_id, e.queue)
    if passage is None or passage.completed_at is not None or passage.outcome not in {"", "unknown", "exit_key"}:
        if passage is not None and passage.outcome == "answered" and passage.completed_at is None:
            return
        passage = Passage(e.queue, caller_behind(pbx, leg), e.unique_id, e.at - seconds(e.hold_time))
        if not call.add("passages", call.passages, passage):
            return
    conclude_offer(call, e, "answered", seconds(e.ring_time))
    passage.left_at = passage.left_at or e.at
    answer_passage(pbx, passage, e, e.at)
    leg.is_leaving = False
    pbx.touch(call, e.at)


def answer_passage(pbx: Pbx, passage: Passage, e: ami.AgentConnect | ami.AgentComplete, at: datetime) -> None:
    """Note which member answered a passage, and when."""
    name_caller(pbx, passage)
    passage.outcome, passage.key = "answered", ""
    passage.answered_at = at
    passage.wait = float(e.hold_time)
    passage.member, passage.interface = e.member, e.interface
    passage.agent = pbx.person_ahead(e.dest_unique_id)


def seconds(number: int) -> timedelta:
    """Return a number of seconds in an event as a duration."""
    return timedelta(seconds=min(max(number, 0), 1 << 31))


def complete_call(pbx: Pbx, e: ami.AgentComplete) -> None:
    """End a member's call, with Asterisk's own seconds; without AgentConnect it was answered so long before."""
    unique_id = caller_of_completion(pbx, e)
    call = pbx.see(unique_id, e.linked_id, e.at)
    if call is None:
        ended = pbx.ended.get(unique_id) or pbx.ended.get(e.linked_id)
        if ended is not None:
            complete_ended(pbx, ended, e)
        return
    for passage in reversed(call.passages):
        if passage.queue == e.queue and passage.interface == e.interface and passage.outcome == "answered":
            if passage.completed_at is not None:
                return
            passage.completed_at = e.at
            passage.talk = float(e.talk_time)
            passage.ended_by = e.reason if e.reason in ENDED_BY else ""
            pbx.touch(call, e.at)
            return
    complete_unanswered(pbx, call, e, unique_id)


def complete_unanswered(pbx: Pbx, call: OpenCall, e: ami.AgentComplete, channel: str) -> None:
    """Answer and end a passage whose AgentConnect is missing, and which may lack its beginning too."""
    leg = pbx.legs[channel]
    passage = next((p for p in reversed(call.passages) if (p.channel, p.queue) == (channel, e.queue)), None)
    answered_at = e.at - seconds(e.talk_time)
    if passage is None or passage.outcome not in {"", "unknown"}:
        passage = Passage(e.queue, caller_behind(pbx, leg), channel, answered_at - seconds(e.hold_time))
        if not call.add("passages", call.passages, passage):
            return
        call.passages.sort(key=lambda one: one.entered_at)
    answer_passage(pbx, passage, e, max(answered_at, passage.entered_at))
    passage.left_at = passage.answered_at
    passage.completed_at, passage.talk = e.at, float(e.talk_time)
    passage.ended_by = e.reason if e.reason in ENDED_BY else ""
    conclude_offer(call, e, "answered", seconds(e.talk_time), e.at - seconds(e.talk_time))
    pbx.touch(call, e.at)


def set_queue_status(pbx: Pbx, leg: Leg, e: VarSet) -> None:
    """Take Asterisk's own reason for the end of a passage; a caller who may not join has only this."""
    outcome = STATUS.get(e.value)
    call = pbx.homes[leg.unique_id]
    if outcome is None:
        return
    leg.is_leaving = False
    pbx.touch(call, e.at)
    if outcome in NOT_JOINED:
        party = caller_behind(pbx, leg)
        passage = Passage(leg.app_queue, party, leg.unique_id, e.at, left_at=e.at, outcome=outcome)
        if leg.app_queue and not is_doubled(call, leg.unique_id, leg.app_queue, e.at):
            call.add("passages", call.passages, passage)
        return
    for passage in reversed(call.passages):
        if passage.channel == leg.unique_id:
            if passage.answered_at is None:
                finish_passage(passage, outcome, e.at)
            return


def finish_passage(passage: Passage, outcome: str, at: datetime) -> None:
    """End a passage; where Asterisk did not count the wait, it is the whole seconds between its two times."""
    passage.outcome = outcome
    passage.left_at = passage.left_at or at
    if passage.wait is None:
        passage.wait = float(int(passage.left_at.timestamp()) - int(passage.entered_at.timestamp()))


def enter_queue(pbx: Pbx, leg: Leg, e: NewExten) -> None:
    """Remember the queue that the dialplan runs: a caller who may not join has no other event that names it.

    A caller who waits runs it already. Then AMI's Redirect has given him another place, or a key has.
    """
    call = pbx.homes[leg.unique_id]
    waits = [p for p in call.passages if p.channel == leg.unique_id and not p.outcome and p.left_at is None]
    for passage in waits:
        # A channel that takes the caller's place shows the same extension (attended transfer into the queue).
        passage.is_redirected = bool(passage.exten) and e.exten != passage.exten
    if not waits:
        leg.app_queue = e.app_data.partition(",")[0]
    pbx.touch(call, e.at)


def continue_dialplan(pbx: Pbx, leg: Leg, e: NewExten) -> None:
    """Settle a passage whose caller continues in the dialplan: a key took him out, unless QueueCallerAbandon came."""
    leg.is_leaving = False
    call = pbx.homes[leg.unique_id]
    for passage in reversed(call.passages):
        if passage.channel == leg.unique_id and not passage.outcome:
            if not passage.gave_up:
                finish_passage(passage, "exit_key", e.at)
                passage.key = e.exten
            else:
                finish_passage(passage, "abandoned" if e.exten == "h" else "unknown", e.at)
            pbx.touch(call, e.at)
            return


def settle_passage(pbx: Pbx, call: OpenCall, leg: Leg, at: datetime) -> None:
    """Settle what no further event decides, when a caller joins another queue or hangs up."""
    leg.is_leaving = False
    for passage in call.passages:
        if passage.channel != leg.unique_id or passage.outcome:
            continue
        hung_up = leg.ended_at is not None
        if passage.gave_up:
            finish_passage(passage, "abandoned" if hung_up and leg.has_dialplan else "unknown", at)
        elif hung_up and passage.left_at is None:
            finish_passage(passage, "abandoned" if leg.requested_at is not None else "unknown", at)
        else:
            finish_passage(passage, "exit_key" if passage.left_at is not None else "unknown", at)
        pbx.touch(call, at)


def replace_caller(call: OpenCall, replaced: str, by: str, party: str) -> None:
    """Give the place of a replaced leg in a queue to the channel that took it, and to the person behind that."""
    for passage in call.passages:
        if passage.channel == replaced and passage.outcome in {"", "answered"} and passage.completed_at is None:
            passage.channel, passage.party = by, party


def take_out(pbx: Pbx, call: OpenCall, leg: Leg, at: datetime) -> None:
    """Settle the passage of a waiting channel that is in a bridge: AMI's Bridge takes it out without an event."""
    for passage in call.passages:
        if passage.channel == leg.unique_id and not passage.outcome and passage.left_at is None:
            finish_passage(passage, "unknown", at)
            pbx.touch(call, at)
