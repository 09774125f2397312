"""AgentComplete of a call that has ended: a thread of app_queue sends it, and the last Hangup may overtake it.

Asterisk 16 then names neither the caller nor the member's channel, but the queue and the member's interface alone.
"""

from datetime import timedelta
from typing import Any

from projections.calls.story.call import OpenCall
from projections.calls.story.pbx import Pbx
from projections.calls.story.render import TOLERANCE
from schemas import calls as wire
from schemas.ami import call as ami

MOST_SERVED = 1000
"""How many callers whose AgentComplete is missing are remembered, the latest of each queue and member."""


def key_of(queue: str, interface: str) -> str:
    """Return the key of a queue's member in `Pbx.served`."""
    return f"{queue}\t{interface}"


def remember_callers(pbx: Pbx, call: OpenCall) -> None:
    """Remember the channels of a call's callers whose AgentComplete has not come yet."""
    for passage in call.passages if pbx.source == "ami" else ():
        if passage.outcome == "answered" and passage.completed_at is None:
            key = key_of(passage.queue, passage.interface)
            pbx.served.pop(key, None)
            pbx.served[key] = passage.channel
            if len(pbx.served) > MOST_SERVED:
                del pbx.served[next(iter(pbx.served))]


def caller_of_completion(pbx: Pbx, e: ami.AgentComplete) -> str:
    """Return the channel of the caller whom a member has served.

    An event without a channel is about the member's last caller who hung up.
    """
    remembered = pbx.served.pop(key_of(e.queue, e.interface), "")
    if e.unique_id or remembered:
        return e.unique_id or remembered
    served = [
        (passage.answered_at or passage.entered_at, passage.channel)
        for call in pbx.calls.values()
        for passage in call.passages
        if (passage.queue, passage.interface, passage.outcome) == (e.queue, e.interface, "answered")
        and passage.completed_at is None
        and (leg := call.legs.get(passage.channel)) is not None
        and leg.ended_at is not None
    ]
    return max(served)[1] if served else ""


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
