"""Recordings: queue_log alone has the figures that AMI has, and both at once count once."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
import pytest

from projections.calls.story.row import call_of
from schemas.calls import Passage
from schemas.log import NewEvent
from tests.captures import truth
from tests.projections.calls.story.recorded import NAMES, table_of
from tests.support.calls import CallTable, shaped_all
from tests.support.queue_log_events import by_time, queue_log_events
from tests.support.queue_log_truth import read_queue_log
from tests.support.recorded_events import cut, snapshotted

CLASS_AGENT = (
    *("QueueCallerJoin", "QueueCallerLeave", "QueueCallerAbandon", "AgentCalled", "AgentRingNoAnswer"),
    *("AgentConnect", "AgentComplete", "AgentLogin", "AgentLogoff"),
)
ORDERS = ("before", "after", "by time")


@cache
def lines(name: str) -> tuple[NewEvent, ...]:
    return tuple(queue_log_events(truth(name, "queue_log")))


@cache
def log_table(name: str) -> CallTable:
    return CallTable().take(lines(name))


def folded(events: Sequence[NewEvent], seed: int = 0) -> CallTable:
    """Fold events at random cuts, each batch with a machine of its own."""
    table = CallTable()
    for batch in cut(shaped_all(events), 50, seed):
        table.fold(batch)
        table.restart()
    return table


def in_order(order: str, ami: Sequence[NewEvent], log: Sequence[NewEvent]) -> list[NewEvent]:
    return {"before": [*log, *ami], "after": [*ami, *log], "by time": by_time(ami, log)}[order]


def passages(table: CallTable) -> dict[Any, Passage]:
    """Return the passages by what both sources know of their beginning."""
    everything = [p for call in table.calls().values() for p in call.queues]
    match = {(p.party and p.party.unique_id, p.queue, p.position): p for p in everything}
    assert len(match) == len(everything)
    return match


def end_of(passage: Passage) -> tuple[Any, ...]:
    agent = passage.agent.name if passage.agent else None
    times = (passage.wait_seconds, passage.talk_seconds)
    return passage.outcome, *times, agent, passage.ended_by, passage.key, passage.ring_no_answers


def rings(table: CallTable) -> Counter[tuple[Any, ...]]:
    items = [ring for row in table.read() for ring in row.agent_rings]
    return Counter((r["queue"], r["agent"], r["outcome"], r["talk_seconds"], r["is_transferred"]) for r in items)


def stories(table: CallTable) -> dict[str, dict[str, Any]]:
    """Return the calls and figures, without the members that a poorer source adds."""
    match = {}
    for row in table.read():
        call = msgspec.to_builtins(call_of(row))
        del call["sources"], call["user_field"], call["account_code"]
        match[row.linkedid] = call | {"passages": row.passages, "rings": row.agent_rings}
    return match


@pytest.mark.parametrize("name", NAMES)
def test_passages_of_ami_and_queue_log_agree(name: str) -> None:
    """No passage of the recordings has a transfer, so its talk is Asterisk's TalkTime in both."""
    ami, log = passages(table_of(name)), passages(log_table(name))
    assert len(log) == len(read_queue_log(truth(name, "queue_log")).passages) >= 60
    # Asterisk writes no line for a caller who may not join.
    assert {ami[key].outcome for key in ami.keys() - log.keys()} == {"join_empty"}
    assert log.keys() <= ami.keys()
    differing = {key for key in log if end_of(ami[key]) != end_of(log[key])}
    # One caller still waits when the recording ends; the file has his end, which came after.
    (waiting,) = differing
    assert (ami[waiting].outcome, log[waiting].outcome) == (None, "abandoned")
    # The line has the second, and is written after the event: 1.01 seconds at most in the recordings.
    assert all(abs((ami[key].entered_at - log[key].entered_at).total_seconds()) < 1.1 for key in log)


@pytest.mark.parametrize("name", NAMES)
def test_rings_of_agents_agree(name: str) -> None:
    """Asterisk writes no line for a ring that ended because another member answered."""
    ami, log = rings(table_of(name)), rings(log_table(name))
    assert not log - ami
    assert ami - log == {("sales", "Bob Baker", "cancelled", 0.0, False): 6}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", NAMES)
def test_ami_with_queue_log_counts_once(name: str, order: str) -> None:
    table = folded(in_order(order, snapshotted(name), lines(name)))
    assert stories(table) == stories(table_of(name))
    with_log = [call for call in table.calls().values() if "queue_log" in call.sources]
    assert len(with_log) == len(log_table(name).calls())
    assert all(call.sources[0] == "ami" for call in with_log)


@pytest.mark.parametrize("name", NAMES)
def test_queue_log_replaces_the_class_agent(name: str) -> None:
    """Its passages and rings are those of the file, in the calls of AMI, whichever comes first."""
    ami = [event for event in snapshotted(name) if event.name not in CLASS_AGENT]
    tables = [folded(in_order(order, ami, lines(name))) for order in ORDERS]
    assert stories(tables[0]) == stories(tables[1]) == stories(tables[2])
    with_log, log = passages(tables[0]), passages(log_table(name))
    assert {with_log[key].outcome for key in with_log.keys() - log.keys()} == {"join_empty"}
    assert {key: end_of(with_log[key]) for key in log} == {key: end_of(log[key]) for key in log}
    assert rings(tables[0]) == rings(log_table(name))
    answered = [p for call in tables[0].calls().values() for p in call.parties if p.role == "agent"]
    assert len(answered) == sum(p.outcome == "answered" for p in log.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_call_of_a_file_is_told_once(name: str) -> None:
    table = folded(lines(name), seed=1)
    assert table.rows == log_table(name).rows
    calls = table.calls()
    entered = [event.raw.split(b"|")[1].decode() for event in lines(name) if event.name == "ENTERQUEUE"]
    assert sorted(calls) == sorted(set(entered))
    assert {call.state for call in calls.values()} == {"ended"}
    assert all(call.complete and call.sources == ["queue_log"] for call in calls.values())


@pytest.mark.parametrize("name", NAMES)
def test_cel_with_queue_log_has_its_passages(name: str) -> None:
    """CEL has the conversations, the file the queues and agents."""
    cel = [event for event in snapshotted(name) if event.name == "CEL"]
    tables = [folded(in_order(order, cel, lines(name))) for order in ORDERS]
    assert stories(tables[0]) == stories(tables[1]) == stories(tables[2])
    with_log, log = passages(tables[0]), passages(log_table(name))
    assert {key: end_of(passage) for key, passage in with_log.items()} == {key: end_of(log[key]) for key in log}
    assert rings(tables[0]) == rings(log_table(name))
