"""The passage that a line of queue_log is about: by its call id, or by the times that the line counts."""

from datetime import datetime, timedelta

from projections.calls.story.call import OpenCall
from projections.calls.story.items import Offer
from projections.calls.story.log_passage import NEAR, LogPassage
from projections.engine.durations import MAX_SECONDS
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


def seconds(number: int | None) -> int:
    """Return a number of seconds that a line has, 0 where it has none or an impossible one."""
    return number if number is not None and 0 <= number <= MAX_SECONDS else 0


def whole_seconds(start: datetime, end: datetime) -> float:
    """Return the seconds between two times as Asterisk counts them, without a rest."""
    return float(max(0, int(end.timestamp()) - int(start.timestamp())))


def is_near(passage: LogPassage, e: QueueLogLine, entered_at: datetime) -> bool:
    """Return whether a passage is that of a caller who entered the line's queue at this time, within seconds."""
    is_same = (passage.queue, passage.call_id) == (e.queue, e.call_id)
    return is_same and abs(passage.entered_at - entered_at) <= NEAR


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
