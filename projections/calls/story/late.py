"""AgentComplete of a call that has ended: a thread of app_queue sends it, and the last Hangup may overtake it."""

from datetime import timedelta
from typing import Any

from projections.calls.story.pbx import Pbx
from projections.calls.story.render import TOLERANCE
from schemas import calls as wire
from schemas.ami import call as ami


def complete_ended(pbx: Pbx, ended: Any, e: ami.AgentComplete) -> None:
    """Add who ended the agent's call, and Asterisk's seconds, to the passage of a call that has ended."""
    call: wire.Call = ended.call
    for ordinal in reversed(range(len(call.queues))):
        passage = call.queues[ordinal]
        agent = passage.agent
        if passage.queue == e.queue and agent is not None and agent.interface == (e.interface or None):
            if passage.ended_by not in {None, "transfer"}:
                return
            before = (passage.ended_by, passage.talk_seconds)
            complete_passage(passage, e)
            if ordinal == len(call.queues) - 1:
                name_agent(call, e)
            if before != (passage.ended_by, passage.talk_seconds):
                copy_figures(ended, ordinal, passage)
                ended.updated_at = e.at
                pbx.dirty[call.linkedid] = None
            return


def complete_passage(passage: wire.Passage, e: ami.AgentComplete) -> None:
    """Complete a passage by the rules of `Renderer.passage`; its talk is that of the agent's own conversations."""
    if passage.answered_at is None or e.reason not in {"caller", "agent", "transfer"}:
        return
    left = passage.answered_at + timedelta(seconds=passage.talk_seconds or 0)
    is_unnoticed = passage.ended_by == "transfer" and e.reason != "transfer"
    if passage.talk_seconds is None or (not is_unnoticed and e.at - left <= TOLERANCE):
        passage.talk_seconds = float(e.talk_time)
    if not is_unnoticed:
        passage.ended_by = e.reason  # type: ignore[assignment]


def name_agent(call: wire.Call, e: ami.AgentComplete) -> None:
    """Name the logged-in agent who ended the call: his own channel stays, so no hangup does."""
    legs = {leg.unique_id for leg in call.legs}
    agents = [party for party in call.parties if party.role == "agent" and party.unique_id not in legs]
    if e.reason == "agent" and agents and call.hangup is not None and call.hangup.by == "pbx":
        one = agents[-1]
        party = wire.Party(one.channel, one.unique_id, one.endpoint, one.number, one.name)
        call.hangup = wire.Hangup(e.at, "callee", party, call.hangup.cause, call.hangup.cause_text)


def copy_figures(ended: Any, ordinal: int, passage: wire.Passage) -> None:
    """Copy a passage's end to the call's items for the figures of queues and agents."""
    item = ended.passages[ordinal]
    values = {
        "talk_seconds": round(passage.talk_seconds or 0.0, 3),
        "is_transferred": passage.ended_by == "transfer",
    }
    item |= values
    for ring in ended.agent_rings:
        if ring["outcome"] == "answered" and (ring["queue"], ring["at"]) == (item["queue"], item["answered_at"]):
            ring.update(values)
