"""Passages and rings of agents from lines of queue_log (app_queue.c, and QueueLog() of dialplans).

A file may begin in the middle. So a line that ends or answers a passage makes one where there is none: its caller
entered as many seconds earlier as the line counts.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from projections.calls.story.call import OpenCall
from projections.calls.story.items import Offer
from projections.calls.story.log_passage import NEAR, LogPassage
from projections.engine.durations import MAX_SECONDS
from schemas.call_settings import REFUSED
from schemas.queue_log import QueueLogLine

EXITS = {
    "ABANDON": "abandoned",
    "EXITWITHTIMEOUT": "timeout",
    "EXITEMPTY": "left_empty",
    "WITHDRAW": "withdrawn",
    "EXITWITHKEY": "exit_key",
}
COMPLETIONS = {
    "COMPLETECALLER": "caller",
    "COMPLETEAGENT": "agent",
    "TRANSFER": "transfer",
    "BLINDTRANSFER": "transfer",
    "ATTENDEDTRANSFER": "transfer",
}
"""The line's event, and what ended the agent's talk."""
RINGS = {"RINGNOANSWER": "ring_no_answer", "RINGCANCELED": "cancelled"}
START = "QUEUESTART"
"""Asterisk has started: no call of before is up."""
LINES = frozenset({"ENTERQUEUE", "CONNECT", "WRAPUPSTART", *EXITS, *COMPLETIONS, *RINGS})
"""Asterisk's lines about callers; a dialplan's words come besides."""


def take_line(call: OpenCall, e: QueueLogLine, words: Mapping[str, str]) -> bool:
    """Fold a line into the passages of its call; return whether it changed any. ``words`` are those of dialplans."""
    match e.event:
        case "ENTERQUEUE":
            return enter(call, e)
        case "CONNECT":
            return connect(call, e)
        case "RINGNOANSWER" | "RINGCANCELED":
            return miss(call, e)
        case "WRAPUPSTART":
            return wrap_up(call, e)
    if e.event in EXITS:
        return leave(call, e)
    if e.event in COMPLETIONS:
        return complete(call, e)
    return e.event in words and apply_word(call, e, words[e.event])


def seconds(number: int | None) -> int:
    """Return a number of seconds that a line has, 0 where it has none or an impossible one."""
    return number if number is not None and 0 <= number <= MAX_SECONDS else 0


def whole_seconds(start: datetime, end: datetime) -> float:
    """Return the seconds between two times as Asterisk counts them, without a rest."""
    return float(max(0, int(end.timestamp()) - int(start.timestamp())))


def enter(call: OpenCall, e: QueueLogLine) -> bool:
    """Begin a passage. One whose later lines were read before gets its beginning."""
    passage = next((p for p in call.log_passages if not p.has_entry and is_near(p, e, e.at)), None)
    if passage is None:
        for other in call.log_passages:  # A channel waits in one queue only.
            if other.is_open() and other.call_id == e.call_id and other.entered_at <= e.at:
                settle(other, e.at)
        passage = LogPassage(e.queue, e.call_id, e.at)
        if not call.add("passages", call.log_passages, passage):
            return True
    passage.has_entry, passage.entered_at = True, e.at
    passage.number = e.text("number") or passage.number
    passage.position = e.number("position")
    return True


def is_near(passage: LogPassage, e: QueueLogLine, entered_at: datetime) -> bool:
    """Return whether a passage is that of a caller who entered the line's queue at this time, within seconds."""
    is_same = (passage.queue, passage.call_id) == (e.queue, e.call_id)
    return is_same and abs(passage.entered_at - entered_at) <= NEAR


def settle(passage: LogPassage, at: datetime) -> None:
    """End a passage of whose end the file has no line."""
    if passage.outcome:
        passage.completed_at = passage.completed_at or at
    else:
        passage.outcome, passage.left_at = "unknown", at
        passage.wait = whole_seconds(passage.entered_at, at)


def open_passage(call: OpenCall, e: QueueLogLine, entered_at: datetime, *, is_answered: bool) -> LogPassage | None:
    """Return the passage that a line continues, a new one if need be, None where the line is about one that ended."""
    for passage in reversed(call.log_passages):
        is_same = (passage.queue, passage.call_id) == (e.queue, e.call_id) and passage.entered_at <= e.at
        if is_same and passage.is_open() and (is_answered or passage.answered_at is None):
            return passage
    if any(is_near(passage, e, entered_at) and not passage.is_open() for passage in call.log_passages):
        return None
    other = passage_since(call, e, entered_at)
    if other is not None:
        if not other.is_open():
            return None
        other.call_id = e.call_id
        other.ring_no_answers += sum(is_missed(offer, e, other) for offer in call.log_offers)
        return other
    new = LogPassage(e.queue, e.call_id, entered_at)
    return new if call.add("passages", call.log_passages, new) else None


def passage_since(call: OpenCall, e: QueueLogLine, entered_at: datetime) -> LogPassage | None:
    """Return the passage under another call id that a line continues: its caller entered at this time, or nearly so.

    A waiting caller has another id after an attended transfer into the queue. A caller who talks has one after a
    masquerade, and where his channel takes the place of a Local half (handle_masquerade and
    handle_local_optimization_end of app_queue.c). Two threads may each log an end of one talk.
    """
    near = [
        passage
        for passage in call.log_passages
        if passage.queue == e.queue
        and passage.call_id != e.call_id
        and abs(passage.entered_at - entered_at) <= NEAR
        and (not passage.outcome or is_talk(passage, e))
    ]
    return min(near, key=lambda one: (not is_talk(one, e), abs(one.entered_at - entered_at)), default=None)


def is_talk(passage: LogPassage, e: QueueLogLine) -> bool:
    """Return whether a line ends the talk of this passage: its agent answered as long ago as the line counts."""
    if e.event not in COMPLETIONS or passage.answered_at is None or passage.member != e.agent:
        return False
    return abs(passage.answered_at - before(e, e.number("talk"))) <= NEAR


def is_missed(offer: Offer, e: QueueLogLine, passage: LogPassage) -> bool:
    """Return whether an agent did not answer a ring of this passage under the line's call id."""
    is_of_line = (offer.queue, offer.call_id, offer.outcome) == (e.queue, e.call_id, RINGS["RINGNOANSWER"])
    return is_of_line and offer.ended_at is not None and offer.ended_at >= passage.entered_at


def before(e: QueueLogLine, *numbers: int | None) -> datetime:
    """Return the time that is as many seconds before a line as these numbers together."""
    return e.at - timedelta(seconds=sum(seconds(number) for number in numbers))


def connect(call: OpenCall, e: QueueLogLine) -> bool:
    """Connect the caller with an agent."""
    passage = open_passage(call, e, before(e, e.number("hold")), is_answered=True)
    if passage is None or passage.answered_at is not None:
        return False
    answer(call, passage, e, e.at, e.number("hold"))
    passage.peer, passage.ring = e.text("bridged"), e.number("ring")
    return True


def answer(call: OpenCall, passage: LogPassage, e: QueueLogLine, at: datetime, hold: int | None) -> None:
    """Note that the line's agent answered."""
    at = max(at, passage.entered_at)
    passage.outcome, passage.answered_at, passage.left_at, passage.member = "answered", at, at, e.agent
    passage.wait = float(seconds(hold)) if hold is not None else whole_seconds(passage.entered_at, at)
    start = max(before(e, e.number("ring")), passage.entered_at) if e.event == "CONNECT" else at
    call.add("offers", call.log_offers, Offer(e.queue, e.agent, "", "", min(start, at), at, "answered"))


def complete(call: OpenCall, e: QueueLogLine) -> bool:
    """End the agent's talk."""
    hold, talk = e.number("hold"), e.number("talk")
    passage = open_passage(call, e, before(e, hold, talk), is_answered=True)
    if passage is None:
        return False
    if passage.answered_at is None:
        answer(call, passage, e, before(e, talk), hold)
    start = passage.answered_at or e.at
    passage.completed_at, passage.ended_by = max(e.at, start), COMPLETIONS[e.event]
    passage.talk = float(seconds(talk)) if talk is not None else whole_seconds(start, e.at)
    if passage.ended_by == "transfer":
        passage.method, passage.exten, passage.context = e.event, e.text("exten"), e.text("context")
    return True


def leave(call: OpenCall, e: QueueLogLine) -> bool:
    """End a passage without an agent."""
    passage = open_passage(call, e, before(e, e.number("wait")), is_answered=False)
    if passage is None:
        return False
    finish(passage, EXITS[e.event], e.at, e.number("wait"))
    passage.key = e.text("key")
    if passage.position is None:
        passage.position = e.number("original")
    return True


def finish(passage: LogPassage, outcome: str, at: datetime, wait: int | None = None) -> None:
    """End a passage, after the wait that the line counts, or else that between its times."""
    passage.outcome, passage.left_at = outcome, max(at, passage.entered_at)
    passage.wait = float(seconds(wait)) if wait is not None else whole_seconds(passage.entered_at, at)


def miss(call: OpenCall, e: QueueLogLine) -> bool:
    """Count a ring that the agent did not answer, and that of a caller who left, or whom another agent took."""
    start = e.at - timedelta(milliseconds=min(e.number("ring_ms") or 0, MAX_SECONDS))
    offer = Offer(e.queue, e.agent, "", "", start, e.at, RINGS[e.event], call_id=e.call_id)
    call.add("offers", call.log_offers, offer)
    for passage in reversed(call.log_passages):
        if (passage.queue, passage.call_id) == (e.queue, e.call_id) and not passage.outcome:
            passage.ring_no_answers += e.event == "RINGNOANSWER"
            break
    return True


def wrap_up(call: OpenCall, e: QueueLogLine) -> bool:
    """Give the seconds of wrapup to the agent's last call, of either source."""
    changed = False
    for offers in (call.log_offers, call.offers):
        for offer in reversed(offers):
            is_agent = e.agent in {offer.member, offer.interface} and offer.queue == (e.queue or offer.queue)
            if is_agent and offer.outcome == "answered":
                changed |= offer.wrapup != seconds(e.number("seconds"))
                offer.wrapup = float(seconds(e.number("seconds")))
                break
    return changed


def apply_word(call: OpenCall, e: QueueLogLine, outcome: str) -> bool:
    """Take a dialplan's word: a caller whom it lets not in, or why one left of whom Asterisk has logged the end.

    AMI's Newexten of QueueLog() gives the same line as the file, so the second one changes nothing.
    """
    if outcome in REFUSED:
        if any(is_near(passage, e, e.at) and passage.outcome == outcome for passage in call.log_passages):
            return False
        passage = LogPassage(e.queue, e.call_id, e.at, has_entry=True, left_at=e.at, outcome=outcome)
        call.add("passages", call.log_passages, passage)
        return True
    for passage in reversed(call.log_passages):
        if (passage.queue, passage.call_id) == (e.queue, e.call_id):
            if passage.answered_at is not None:
                return False
            if passage.outcome:
                passage.outcome = outcome
            else:
                finish(passage, outcome, e.at)
            return True
    return False
