"""Lines of queue_log about a call that has ended: its passages change, and what follows from them.

The row of such a call has the lines' own passages and offers beside its figures (``log``), so nothing of them is lost.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from projections.calls.story.call import OpenCall
from projections.calls.story.figures import agent_ring_item, partial_item, passage_item
from projections.calls.story.items import Offer, Passage
from projections.calls.story.log_overlap import (
    added_offers,
    added_passages,
    all_passages,
    as_passage,
    own_offers,
    own_passages,
    with_wrapup,
)
from projections.calls.story.log_passage import LogPassage
from projections.calls.story.outcomes import outcome_of
from projections.calls.story.people import caller_of
from projections.calls.story.render import Renderer
from projections.calls.story.reopen import reopen
from projections.queues.figures import AgentRing, QueuePassage

OF_PASSAGES = ("abandoned", "timeout")
"""Outcomes of a call that are those of its last passage."""


def log_passages_of(items: list[dict[str, Any]]) -> list[LogPassage]:
    """Return queue_log's passages in a row's items."""
    logs = [item.get("log") or item.get("partial") for item in items]
    return [msgspec.convert(one, LogPassage, strict=False) for one in logs if one]


def log_offers_of(items: list[dict[str, Any]]) -> list[Offer]:
    """Return queue_log's offers in a row's items."""
    return [msgspec.convert(item["log"], Offer, strict=False) for item in items if "log" in item]


def late_call(ended: Any) -> OpenCall:
    """Return an ended call as working state, with what queue_log has of it."""
    call = reopen(ended.call, ended.number, ended.updated_at)
    call.source = ended.source
    call.log_passages, call.log_offers = log_passages_of(ended.passages), log_offers_of(ended.agent_rings)
    call.passages = [_own_passage(item) for item in ended.passages if "log" not in item]
    call.offers = [_own_offer(item) for item in ended.agent_rings if "log" not in item]
    return call


def write_log(ended: Any, call: OpenCall) -> bool:
    """Write queue_log's passages and offers of ``call`` into the ended call; return whether that changes it.

    Items of the story's own source stay as they are, but where queue_log's are the richer ones.
    """
    before = (ended.call.queues, ended.passages, ended.agent_rings)
    renderer = Renderer(call)
    counted, added = own_passages(call), [as_passage(call, log) for log in added_passages(call)]
    own = [
        (one, {**item}, passage)
        for (one, item), passage in zip(_own_pairs(ended), call.passages, strict=True)
        if any(passage is mine for mine in counted)
    ]
    both = [*own, *((renderer.passage(one), {}, one) for one in added)]
    if added:
        both.sort(key=lambda item: item[2].entered_at)
    ended.call.queues = [one for one, _, _ in both]
    ended.passages = [
        item | {"ordinal": ordinal} | partial_item(call, passage) if item else passage_item(call, ordinal, passage, one)
        for ordinal, (one, item, passage) in enumerate(both)
    ]
    _write_offers(ended, call, [passage for _, _, passage in both])
    if added:
        _write_outcome(ended, call)
        agents = {passage.agent for passage in all_passages(call)}
        for party in ended.call.parties:
            party.role = "agent" if party.unique_id in agents else party.role
    return before != (ended.call.queues, ended.passages, ended.agent_rings)


def _own_pairs(ended: Any) -> list[tuple[Any, dict[str, Any]]]:
    return [(one, item) for one, item in zip(ended.call.queues, ended.passages, strict=True) if "log" not in item]


def _write_offers(ended: Any, call: OpenCall, passages: list[Passage]) -> None:
    counted, added = own_offers(call), added_offers(call)
    items = [
        (offer.started_at, item | {"wrapup_seconds": with_wrapup(call, offer).wrapup})
        for offer, item in zip(call.offers, _own_items(ended), strict=True)
        if any(offer is mine for mine in counted)
    ]
    used: set[int] = set()
    for offer in added:
        item = agent_ring_item(call, offer, passages, ended.call.queues, used)
        items.append((offer.ended_at or offer.started_at, item))
    if added:
        items.sort(key=lambda pair: pair[0])
    ended.agent_rings = [item | {"ordinal": ordinal} for ordinal, (_, item) in enumerate(items)]


def _own_items(ended: Any) -> list[dict[str, Any]]:
    return [item for item in ended.agent_rings if "log" not in item]


def _write_outcome(ended: Any, call: OpenCall) -> None:
    outcome = outcome_of(call, caller_of(call))
    if outcome in OF_PASSAGES or ended.call.outcome in OF_PASSAGES:
        ended.call.outcome = outcome


def _own_passage(item: dict[str, Any]) -> Passage:
    one = msgspec.convert(item, QueuePassage, strict=False)
    passage = Passage(one.queue, "", "", one.entered_at, left_at=one.left_at, answered_at=one.answered_at)
    # Only whether it is partial counts, not its position or end.
    return replace(
        passage, outcome=one.outcome or "", position=None if "partial" in item else 0, completed_at=one.left_at
    )


def _own_offer(item: dict[str, Any]) -> Offer:
    one = msgspec.convert(item, AgentRing, strict=False)
    outcome, wrapup = one.outcome or "", one.wrapup_seconds
    return Offer(one.queue, one.agent, one.interface or "", "", one.at, one.at, outcome, wrapup)
