"""Passages and rings of agents from lines of queue_log (app_queue.c, and QueueLog() of dialplans).

A file may begin in the middle. So a line that ends or answers a passage makes one where there is none: its caller
entered as many seconds earlier as the line counts.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from projections.calls.story.call import OpenCall
from projections.calls.story.items import Offer
from projections.calls.story.log_match import (
    COMPLETIONS,
    EXITS,
    RINGS,
    before,
    is_near,
    open_passage,
    seconds,
    whole_seconds,
)
from projections.calls.story.log_passage import LogPassage
from projections.engine.durations import MAX_SECONDS
from schemas.call_settings import REFUSED
from schemas.queue_log import QueueLogLine

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


def settle(passage: LogPassage, at: datetime) -> None:
    """End a passage of whose end the file has no line."""
    if passage.outcome:
        passage.completed_at = passage.completed_at or at
    else:
        passage.outcome, passage.left_at = "unknown", at
        passage.wait = whole_seconds(passage.entered_at, at)


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
