"""The passages and figures of a run, compared with its queue_log: passage by passage, and as the API sums them.

Asterisk writes no line for a caller whom a queue refuses. It writes ABANDON for a caller whom AMI's Redirect takes out.
It does not notice that an agent behind a Local channel transfers by feature code: his talk lasts until the caller's
end. No event has the wait of a caller who leaves by key: two readings of the clock may differ by a second.
Two threads of Asterisk may each write an end of one talk, and send AgentComplete in the other order.
In these points the story counts; in all others it must equal queue_log.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from schemas.calls import Call
from schemas.calls import Passage as StoryPassage
from services.log.times import rfc3339
from tests.e2e.ledger import Ledger
from tests.support.queue_log_truth import NEVER_IN, Passage, QueueLog

SLA_SECONDS = 20
OUTCOMES = (
    *("answered", "abandoned", "timeout", "exit_key", "left_empty", "join_empty", "full", "closed"),
    *("withdrawn", "unknown", "waiting"),
)


def agreed_passages(calls: Sequence[Call], by_id: Mapping[str, Call], log: QueueLog) -> list[Passage]:
    """Return the passages of queue_log, with what only the story has. Fails if any other value differs."""
    lines: dict[tuple[str, str], list[Passage]] = defaultdict(list)
    for line in log.passages:
        lines[by_id[line.call].linkedid, line.queue].append(line)
    agreed = []
    for call in calls:
        for passage in call.queues:
            if passage.outcome in NEVER_IN:
                agreed.append(Passage(passage.queue, call.linkedid, 0, outcome=passage.outcome or ""))
            else:
                agreed.append(agreed_passage(passage, lines[call.linkedid, passage.queue].pop(0)))
    assert not any(lines.values()), [line for some in lines.values() for line in some]
    return agreed


def agreed_passage(ours: StoryPassage, theirs: Passage) -> Passage:
    """Return one passage. Fails if story and queue_log differ."""
    if ours.outcome == "unknown" and theirs.outcome == "abandoned":
        theirs.outcome = "unknown"
    if theirs.second_end is not None and theirs.second_end == (ours.ended_by, ours.talk_seconds):
        theirs.ended_by, theirs.talk_seconds = theirs.second_end
    if ours.ended_by == "transfer" != theirs.ended_by and (ours.talk_seconds or 0) <= (theirs.talk_seconds or 0) + 1:
        theirs.ended_by, theirs.talk_seconds = "transfer", ours.talk_seconds  # type: ignore[assignment]
    if ours.outcome == "exit_key" and abs((ours.wait_seconds or 0) - (theirs.wait_seconds or 0)) <= 1:
        theirs.wait_seconds = ours.wait_seconds  # type: ignore[assignment]
    agent = ours.agent.name if ours.agent else ""
    story = (ours.outcome, ours.position, ours.wait_seconds, agent, ours.key or "", ours.ring_no_answers)
    assert story == (
        theirs.outcome,
        theirs.position,
        theirs.wait_seconds,
        theirs.agent,
        theirs.key,
        theirs.ring_no_answers,
    )
    assert (ours.ended_by or "", ours.talk_seconds) == (theirs.ended_by, theirs.talk_seconds), theirs
    return theirs


async def compare_statistics(ledger: Ledger, pbx: str, calls: Sequence[Call], passages: Sequence[Passage]) -> None:
    """Fail unless /v1/statistics/queues and /v1/statistics/agents sum exactly these passages."""
    queues: dict[str, list[Passage]] = defaultdict(list)
    agents: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        queues[passage.queue].append(passage)
        if passage.agent:
            agents[passage.agent].append(passage)
    totals = await totals_of(ledger, "queues", pbx, calls)
    assert totals == {name: figures_of_queue(some) for name, some in queues.items()}
    totals = await totals_of(ledger, "agents", pbx, calls)
    names = ("answered", "transferred", "talk_seconds")
    shown = {name: tuple(row[n] for n in names) for name, row in totals.items() if row["answered"]}
    assert shown == {
        name: (len(some), sum(p.ended_by == "transfer" for p in some), talk_seconds(some))
        for name, some in agents.items()
    }


async def ring_no_answers(ledger: Ledger, pbx: str, calls: Sequence[Call]) -> dict[str, int]:
    """Return how often each agent did not answer, as the API sums it."""
    totals = await totals_of(ledger, "agents", pbx, calls)
    return {name: row["ring_no_answers"] for name, row in totals.items() if row["ring_no_answers"]}


async def totals_of(ledger: Ledger, kind: str, pbx: str, calls: Sequence[Call]) -> dict[str, dict[str, Any]]:
    """Return the totals of statistics over the time of these calls, by name."""
    if not calls:
        return {}
    start = min(call.started_at for call in calls)
    end = max(call.ended_at for call in calls if call.ended_at is not None) + timedelta(seconds=1)
    params = {"pbx": pbx, "from": rfc3339(start, "microseconds"), "to": rfc3339(end, "microseconds")}
    async with ledger.client.get(f"/v1/statistics/{kind}", params=params) as reply:
        assert reply.status == 200, await reply.text()
        return {row.pop("name"): row for row in (await reply.json())["totals"]}


def figures_of_queue(passages: Sequence[Passage]) -> dict[str, Any]:
    """Return the figures of one queue, as CALLS.md defines them."""
    figures: dict[str, Any] = {"received": len(passages)}
    figures |= {outcome: sum(p.outcome == outcome for p in passages) for outcome in OUTCOMES}
    answered = [passage for passage in passages if passage.outcome == "answered"]
    waits = [p.wait_seconds for p in passages if p.outcome in {"answered", "abandoned"} and p.wait_seconds is not None]
    in_sla = sum(p.wait_seconds is not None and p.wait_seconds <= SLA_SECONDS for p in answered)
    talk = talk_seconds(answered)
    return figures | {
        "in_sla": in_sla,
        "in_sla_percent": ratio(100 * in_sla, len(answered)),
        "answered_percent": ratio(100 * len(answered), len(passages) - figures["closed"]),
        "wait_avg_seconds": ratio(sum(waits), len(waits)),
        "wait_max_seconds": max(waits, default=None),
        "talk_seconds": talk,
        "talk_avg_seconds": ratio(talk, len(answered)),
        "transferred": sum(p.ended_by == "transfer" for p in passages),
        "ring_no_answers": sum(p.ring_no_answers for p in passages),
    }


def talk_seconds(passages: Sequence[Passage]) -> float:
    """Return the seconds of talk; the tables have milliseconds."""
    return sum(round(1000 * (passage.talk_seconds or 0)) for passage in passages) / 1000


def ratio(part: float, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
