"""The part of a call in the figures of queues and agents: its passages, and the rings of its agents."""

from datetime import datetime, timedelta
from typing import Any

from projections.calls.story.call import OpenCall
from projections.queues.figures import AgentRing, QueuePassage, as_json
from schemas import calls as wire


def passages_of(call: OpenCall, queues: list[wire.Passage]) -> list[dict[str, Any]]:
    """Return the passages of a call as items of its row; ``queues`` are those of its wire object."""
    items = []
    for ordinal, (passage, one) in enumerate(zip(call.passages, queues, strict=True)):
        items.append(
            as_json(
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
                )
            )
        )
    return items


def agent_rings_of(call: OpenCall, queues: list[wire.Passage]) -> list[dict[str, Any]]:
    """Return the rings of a call's agents as items of its row; an answered one has its passage's talk."""
    items = []
    used: set[int] = set()
    for ordinal, offer in enumerate(call.offers):
        ring = AgentRing(
            ordinal=ordinal,
            queue=offer.queue,
            agent=offer.member,
            at=offer.ended_at or offer.started_at,
            outcome=offer.outcome or None,
            interface=offer.interface or None,
        )
        number = _passage_of(call, offer.queue, offer.interface, offer.ended_at, used)
        if offer.outcome == "answered" and number is not None:
            used.add(number)
            passage, one = call.passages[number], queues[number]
            ring.talk_seconds = _rounded(one.talk_seconds) or 0.0
            ring.is_transferred = one.ended_by == "transfer"
            ring.hold_seconds = hold_seconds(call, passage.agent, passage.answered_at, passage.completed_at)
        items.append(as_json(ring))
    return items


def _passage_of(call: OpenCall, queue: str, interface: str, at: datetime | None, used: set[int]) -> int | None:
    for number, passage in enumerate(call.passages):
        if (
            number not in used
            and passage.answered_at == at
            and (passage.queue, passage.interface) == (queue, interface)
        ):
            return number
    return None


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
