"""Passages from CEL's APP_START and APP_END of Queue, where cel.conf logs that application.

CEL names neither members nor reasons: a passage is answered or abandoned, its time was over, or it is `unknown`.
"""

from datetime import datetime, timedelta

from projections.calls.call_records import endpoint_of
from projections.calls.story import queues
from projections.calls.story.call import OpenCall
from projections.calls.story.cel.shapes import shape
from projections.calls.story.items import Leg, Passage, Ring
from projections.calls.story.pbx import Pbx
from projections.calls.story.queues import finish_passage
from schemas.ami import call as ami
from schemas.ami.cel import CelEvent


def waiting_passage(call: OpenCall, channel: str) -> Passage | None:
    """Return the passage in which a channel waits, or which it has left for a reason that is not known yet."""
    for passage in reversed(call.passages):
        if passage.channel == channel and not passage.outcome:
            return passage
    return None


def name_queue(call: OpenCall, ring: Ring) -> None:
    """Name the queue that rings a phone for a caller who waits."""
    passage = waiting_passage(call, ring.dialler)
    if passage is not None and passage.left_at is None:
        ring.queue = passage.queue


def follow_queue(pbx: Pbx, call: OpenCall, leg: Leg, e: CelEvent) -> None:
    """Take what each line shows of a caller's passage: his application, its arguments, and his place in the dialplan.

    One who hangs up later than that has not abandoned the queue. Asterisk writes no line between two runs of Queue.
    """
    passage = waiting_passage(call, leg.unique_id)
    if passage is None or e.exten == "h":
        return
    is_in_queue = e.application == "Queue" and passage.left_at is None
    if passage.left_at is not None and (e.exten != passage.exten or e.application not in {"", "Queue"}):
        finish_passage(passage, "unknown", passage.left_at)
        pbx.touch(call, e.at)
    elif is_in_queue and e.app_data != passage.arguments and queue_of(e) and passage.arguments:
        left = time_over(passage)
        is_over = left is not None and left <= e.at
        at = left if left is not None and is_over else e.at
        finish_passage(passage, "timeout" if is_over else "unknown", at)
        join(pbx, leg, e, at)


def start_queue(pbx: Pbx, leg: Leg, e: CelEvent) -> None:
    """Begin a passage, unless the channel has taken the place of a leg that waited there."""
    passage = waiting_passage(pbx.homes[leg.unique_id], leg.unique_id)
    if passage is None or passage.left_at is not None or passage.queue != queue_of(e):
        join(pbx, leg, e, e.at)
    else:
        passage.exten, passage.arguments = e.exten, e.app_data


def join(pbx: Pbx, leg: Leg, e: CelEvent, at: datetime) -> None:
    """Begin a passage at a time."""
    facts = {"unique_id": leg.unique_id, "queue": queue_of(e), "exten": e.exten}
    queues.join_queue(pbx, shape(ami.QueueCallerJoin, e, **facts, at=at))
    passage = waiting_passage(pbx.homes[leg.unique_id], leg.unique_id)
    if passage is not None:
        passage.arguments = e.app_data


def take_place(call: OpenCall, channel: str) -> None:
    """Continue the passage of a leg whose place in the queue a transferee has taken; he has only one there."""
    waiting = [passage for passage in call.passages if passage.channel == channel and not passage.outcome]
    for passage in waiting[:1]:
        passage.left_at, passage.gave_up = None, False
    for passage in waiting[1:]:
        if passage.queue == waiting[0].queue:
            call.passages.remove(passage)


def queue_of(e: CelEvent) -> str:
    """Return the queue in the arguments of Queue."""
    return e.app_data.partition(",")[0]


def connect_caller(pbx: Pbx, call: OpenCall, leg: Leg, e: CelEvent) -> None:
    """Answer the passage of a caller whom the queue bridges."""
    passage = waiting_passage(call, leg.unique_id)
    if passage is None or e.application != "Queue":
        return
    finish_passage(passage, "answered", e.at)
    passage.answered_at = e.at
    pbx.touch(call, e.at)


def name_member(pbx: Pbx, call: OpenCall) -> None:
    """Name the interface of members who answered, once they talk with their callers."""
    for passage in call.passages:
        if passage.agent in pbx.legs and not passage.interface:
            passage.interface = endpoint_of(pbx.legs[passage.agent].channel) or ""


def end_queue(pbx: Pbx, call: OpenCall, leg: Leg, e: CelEvent) -> None:
    """Note that a caller left; the next application or the hangup decides why."""
    for passage in call.passages:
        if passage.channel != leg.unique_id:
            continue
        if passage.outcome == "answered" and passage.completed_at is None:
            passage.completed_at = e.at
        elif not passage.outcome:
            passage.left_at, passage.gave_up = e.at, True
            passage.arguments = passage.arguments or e.app_data
            left = time_over(passage)
            if e.exten not in {"h", passage.exten}:
                finish_passage(passage, "unknown", e.at)  # by a key, or by AMI's Redirect
            elif left is not None and left <= e.at:
                finish_passage(passage, "timeout", e.at)
        pbx.touch(call, e.at)


def time_over(passage: Passage) -> datetime | None:
    """Return when the time of a passage is over, None if it has no limit."""
    seconds = timeout_of(passage.arguments)
    return passage.entered_at + timedelta(seconds=seconds) if seconds else None


def timeout_of(data: str) -> int:
    """Return the seconds of Queue's fifth argument, 0 without it."""
    arguments = data.split(",")
    text = arguments[4].strip() if len(arguments) > 4 else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 8 else 0


def settle_passage(call: OpenCall, leg: Leg, e: CelEvent, *, hung_up: bool) -> None:
    """Decide why a caller left: he hung up himself, or something unknown let him go on."""
    passage = waiting_passage(call, leg.unique_id)
    if passage is not None and (hung_up or passage.left_at is not None):
        finish_passage(passage, "abandoned" if hung_up else "unknown", e.at)
