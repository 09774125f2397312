"""Passages from CEL's APP_START and APP_END of Queue, where cel.conf logs that application.

CEL names neither members nor reasons: a passage is answered or abandoned, its time was over, or it is `unknown`.
"""

from datetime import timedelta

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


def start_queue(pbx: Pbx, leg: Leg, e: CelEvent) -> None:
    """Begin a passage."""
    queue = e.app_data.partition(",")[0]
    queues.join_queue(pbx, shape(ami.QueueCallerJoin, e, unique_id=leg.unique_id, queue=queue))


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
            seconds = timeout_of(e.app_data)
            if seconds and e.at - passage.entered_at >= timedelta(seconds=seconds):
                finish_passage(passage, "timeout", e.at)
        pbx.touch(call, e.at)


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
