"""Sums of passages and rings: the order does not matter, and what is taken away leaves nothing."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.calls.call_rows import CallRow
from projections.queues import figures
from projections.queues.figures import AgentRing, QueuePassage, QueueSum

START = datetime(2026, 11, 23, 14, tzinfo=UTC)

passages = st.builds(
    QueuePassage,
    pbx=st.just("pbx"),
    linkedid=st.just("1.1"),
    ordinal=st.integers(0, 99),
    queue=st.just("sales"),
    entered_at=st.integers(0, 3_599_999_999).map(lambda us: START + timedelta(microseconds=us)),
    outcome=st.sampled_from((*figures.OUTCOMES, None)),
    wait_seconds=st.none() | st.integers(0, 99_999).map(lambda ms: ms / 1000),
    talk_seconds=st.integers(0, 99_999).map(lambda ms: ms / 1000),
    is_transferred=st.booleans(),
    ring_no_answers=st.integers(0, 3),
)
rings = st.builds(
    AgentRing,
    pbx=st.just("pbx"),
    linkedid=st.just("1.1"),
    ordinal=st.integers(0, 99),
    queue=st.just("sales"),
    agent=st.just("Alice"),
    at=st.integers(0, 3_599_999_999).map(lambda us: START + timedelta(microseconds=us)),
    outcome=st.sampled_from(("answered", "ring_no_answer", "cancelled", None)),
    talk_seconds=st.integers(0, 99_999).map(lambda ms: ms / 1000),
)


def call(**columns: Any) -> CallRow:
    nothing: dict[str, Any] = dict.fromkeys(("answered_at", "ended_at", "direction", "outcome", "duration_seconds"))
    flags: dict[str, Any] = {"is_told": True, "is_originated": False, "is_transferred": False}
    row: dict[str, Any] = {
        "state": "ended",
        "talk_seconds": 0.0,
        "body": {},
        "linkedid": "1.1",
        "number": 1,
        "started_at": START,
    }
    return CallRow(pbx="pbx", tm_update=START, **nothing, **flags, **row, **columns)


@settings(max_examples=40)
@given(st.lists(passages, min_size=1, max_size=6), st.randoms())
def test_a_sum_of_passages_ignores_their_order(some: list[QueuePassage], random: Any) -> None:
    ones = [figures.queue_sum(passage, figures.HOUR) for passage in some]
    zero = QueueSum(pbx="pbx", queue="sales", at=START)
    total = zero
    for one in ones:
        total = figures.add_queue(total, one)
    random.shuffle(ones)
    other = zero
    for one in ones:
        other = figures.add_queue(other, one)
    assert other == total
    waits = [p.wait_seconds for p in some if p.outcome in {"answered", "abandoned"} and p.wait_seconds is not None]
    assert (total.waits, total.longest_milliseconds) == (len(waits), round(max(waits, default=0) * 1000))
    assert total.wait_milliseconds == sum(round(wait * 1000) for wait in waits)
    answered = [p.wait_seconds for p in some if p.outcome == "answered" and p.wait_seconds is not None]
    by_wait = figures.counted(total.answered_waits, total.answered_counts)
    assert sorted(Counter(round(wait * 1000) for wait in answered).items()) == list(by_wait.items())
    for one in ones:
        total = figures.subtract_queue(total, one)
    assert total == zero


def test_a_sum_holds_each_wait_once() -> None:
    total = QueueSum(pbx="pbx", queue="sales", at=START)
    for number in range(1000):
        passage = QueuePassage(
            pbx="pbx",
            ordinal=0,
            queue="sales",
            entered_at=START,
            outcome="answered",
            wait_seconds=[3.0, 17.0, 170.0][number % 3],
        )
        total = figures.add_queue(total, figures.queue_sum(passage, figures.HOUR))
    assert (total.answered_waits, total.answered_counts) == ("{3000,17000,170000}", "{334,667,1000}")


@settings(max_examples=40)
@given(st.lists(rings, min_size=1, max_size=6))
def test_a_sum_of_rings_ends_at_nothing(some: list[AgentRing]) -> None:
    ones = [figures.agent_sum(ring, figures.HOUR) for ring in some]
    zero = figures.AgentSum(pbx="pbx", agent="Alice", at=START)
    total = zero
    for one in ones:
        total = figures.add_agent(total, one)
    assert total.offered == len(some)
    for one in ones:
        total = figures.subtract_agent(total, one)
    assert total == zero


@settings(max_examples=40)
@given(st.lists(passages, max_size=6), st.lists(rings, max_size=12))
def test_the_database_keeps_the_parts_of_a_call(some: list[QueuePassage], ringing: list[AgentRing]) -> None:
    row = call(passages=[figures.as_json(p) for p in some], agent_rings=[figures.as_json(r) for r in ringing])
    row.passages, row.agent_rings = msgspec.json.decode(msgspec.json.encode([row.passages, row.agent_rings]))
    assert figures.passages_of(row) == some
    assert figures.rings_of(row) == ringing


def test_two_passages_in_one_hour_are_one_contribution() -> None:
    first = QueuePassage(ordinal=0, queue="sales", entered_at=START, outcome="timeout", wait_seconds=30.0)
    again = QueuePassage(ordinal=1, queue="sales", entered_at=START + timedelta(minutes=20), outcome="answered")
    row = call(passages=[figures.as_json(first), figures.as_json(again)])
    (hour,) = figures.queue_hours_of(row)
    assert (hour.timeout, hour.answered) == (1, 1)
    assert [quarter.at for quarter in figures.queue_quarters_of(row)] == [START, START + timedelta(minutes=15)]
