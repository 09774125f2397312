"""The part of a call in the figures of queues and agents: its passages, and the rings of its agents."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from projections.calls.story.call import OpenCall
from projections.calls.story.items import Offer, Passage
from projections.calls.story.log_overlap import all_offers, all_passages, is_near, is_partial, is_same_passage
from projections.queues.figures import AgentRing, QueuePassage, as_json
from schemas import calls as wire


def passages_of(call: OpenCall, queues: list[wire.Passage]) -> list[dict[str, Any]]:
    """Return the passages of a call as items of its row; ``queues`` are those of its wire object."""
    pairs = zip(all_passages(call), queues, strict=True)
    return [passage_item(call, ordinal, passage, one) for ordinal, (passage, one) in enumerate(pairs)]


def passage_item(call: OpenCall, ordinal: int, passage: Passage, one: wire.Passage) -> dict[str, Any]:
    """Return a passage as an item of a call's row; one of queue_log has its own state beside its figures.

    ``partial`` marks one whose end is not known: queue_log's may replace it.
    """
    item = as_json(
        QueuePassage(
            ordinal=ordinal,
            queue=passage.queue,
            entered_at=passage.entered_at,
            left_at=passage.left_at,
            answered_at=passage.answered_at,
            wait_seconds=_rounded(one.wait_seconds),
            talk_seconds=_rounded(one.talk_seconds) or 0.0,
            outcome=one.outcome,
            agent=one.agent.name if one.agent else None,
            interface=one.agent.interface if one.agent else None,
            is_transferred=one.ended_by == "transfer",
            ring_no_answers=passage.ring_no_answers,
        ),
    )
    if passage.log is not None:
        return item | {"log": msgspec.to_builtins(passage.log)}
    return item | partial_item(call, passage)


def partial_item(call: OpenCall, passage: Passage) -> dict[str, Any]:
    """Return what an item has besides, if the passage's end is not known: queue_log's lines of it so far."""
    if not is_partial(call, passage):
        return {}
    same = [msgspec.to_builtins(one) for one in call.log_passages if is_same_passage(one, passage)]
    return {"partial": same[0] if same else None}


def agent_rings_of(call: OpenCall, queues: list[wire.Passage]) -> list[dict[str, Any]]:
    """Return the rings of a call's agents as items of its row; an answered one has its passage's talk."""
    passages, used = all_passages(call), set[int]()
    items = [agent_ring_item(call, offer, passages, queues, used) for offer in all_offers(call)]
    return [item | {"ordinal": ordinal} for ordinal, item in enumerate(items)]


def agent_ring_item(
    call: OpenCall, offer: Offer, passages: list[Passage], queues: list[wire.Passage], used: set[int]
) -> dict[str, Any]:
    """Return a ring of an agent as an item of a call's row; ``used`` are the passages that other rings answered."""
    ring = AgentRing(
        ordinal=0,
        queue=offer.queue,
        agent=offer.member,
        at=offer.ended_at or offer.started_at,
        outcome=offer.outcome or None,
        interface=offer.interface or None,
        wrapup_seconds=offer.wrapup,
    )
    number = _passage_of(passages, offer, used)
    if offer.outcome == "answered" and number is not None:
        used.add(number)
        passage, one = passages[number], queues[number]
        ring.talk_seconds = _rounded(one.talk_seconds) or 0.0
        ring.is_transferred = one.ended_by == "transfer"
        ring.hold_seconds = hold_seconds(call, passage.agent, passage.answered_at, passage.completed_at)
    is_of_log = any(offer is one for one in call.log_offers)
    item = as_json(ring)
    return item if not is_of_log else item | {"log": msgspec.to_builtins(offer)}


def _passage_of(passages: list[Passage], offer: Offer, used: set[int]) -> int | None:
    """Return the number of the passage that a ring answered; one of queue_log has only whole seconds."""
    near = []
    for number, one in enumerate(passages):
        is_agent = one.interface == offer.interface or one.member == offer.member
        if number not in used and one.queue == offer.queue and is_agent and is_near(one.answered_at, offer.ended_at):
            assert one.answered_at is not None
            assert offer.ended_at is not None
            near.append((abs(one.answered_at - offer.ended_at), number))
    return min(near)[1] if near else None


def hold_seconds(call: OpenCall, agent: str, start: datetime | None, end: datetime | None) -> float:
    """Return the seconds for which an agent hold his caller; a hold that lasts counts when it ends."""
    total = timedelta()
    for hold in call.holds:
        if hold.by == agent and hold.ended_at is not None and start is not None:
            until = hold.ended_at if end is None else min(hold.ended_at, end)
            total += max(until - max(hold.started_at, start), timedelta())
    return round(total.total_seconds(), 3)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
