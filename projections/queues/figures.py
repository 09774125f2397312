"""Figures of queues and agents: passages of callers and rings of agents, and their sums by quarter and hour.

All amounts of a sum are whole numbers (milliseconds), so that a contribution can be taken away again without a rest.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from projections.calls.call_rows import CallRow
from projections.engine.derived import DerivedRow

QUARTER, HOUR = 900, 3600
OUTCOMES = (
    *("answered", "abandoned", "timeout", "exit_key", "left_empty", "join_empty"),
    *("full", "closed", "withdrawn", "unknown"),
)
"""How a passage ends; one that has not ended is ``waiting``."""


class QueuePassage(DerivedRow, kw_only=True):
    """One caller once through one queue; ``ordinal`` numbers the passages of a call from 0.

    Seconds are multiples of a millisecond. ``outcome`` is one of `OUTCOMES`, None while the caller waits.
    ``wait_seconds`` is Asterisk's own HoldTime where an event has it. ``agent`` is the name of the member who answered,
    ``interface`` the member's interface. ``talk_seconds`` ends with the agent's own conversation.
    """

    pbx: str = ""
    linkedid: str = ""
    ordinal: int
    queue: str
    entered_at: datetime
    left_at: datetime | None = None
    answered_at: datetime | None = None
    wait_seconds: float | None = None
    talk_seconds: float = 0.0
    outcome: str | None = None
    agent: str | None = None
    interface: str | None = None
    is_transferred: bool = False
    ring_no_answers: int = 0


class AgentRing(DerivedRow, kw_only=True):
    """One ring of one member for a caller of a queue; ``ordinal`` numbers the rings of a call from 0.

    ``at`` is the answer, or else the end of the ring, or else its start while it rings. ``outcome`` is answered,
    ring_no_answer (Asterisk's RINGNOANSWER), another word for any other end, None while it rings. The amounts are
    those of an answered ring; ``hold_seconds`` is the time for which the agent held the caller.
    """

    pbx: str = ""
    linkedid: str = ""
    ordinal: int
    queue: str
    agent: str
    at: datetime
    outcome: str | None = None
    interface: str | None = None
    is_transferred: bool = False
    talk_seconds: float = 0.0
    hold_seconds: float = 0.0
    wrapup_seconds: float = 0.0


class QueueSum(DerivedRow, kw_only=True):
    """The passages of one queue whose callers entered in the quarter (or the hour) that starts ``at``, in UTC.

    ``waits`` counts the answered and abandoned passages with a wait, ``wait_milliseconds`` sums their waits. The texts
    are arrays as PostgreSQL writes them: the different waits in milliseconds, ascending, ``{3000,17000}``, and how many
    passages waited no longer than each of them, ``{5,6}``. HoldTime is in whole seconds, so there are few of them.
    """

    queue: str
    at: datetime
    answered: int = 0
    abandoned: int = 0
    timeout: int = 0
    exit_key: int = 0
    left_empty: int = 0
    join_empty: int = 0
    queue_full: int = 0
    closed: int = 0
    withdrawn: int = 0
    unknown: int = 0
    waiting: int = 0
    waits: int = 0
    wait_milliseconds: int = 0
    longest_milliseconds: int = 0
    talk_milliseconds: int = 0
    transferred: int = 0
    ring_no_answers: int = 0
    answered_waits: str = "{}"
    answered_counts: str = "{}"
    abandoned_waits: str = "{}"
    abandoned_counts: str = "{}"


class AgentSum(DerivedRow, kw_only=True):
    """The rings of one agent in the quarter (or the hour) that starts ``at``, in UTC."""

    agent: str
    at: datetime
    offered: int = 0
    answered: int = 0
    ring_no_answers: int = 0
    transferred: int = 0
    talk_milliseconds: int = 0
    hold_milliseconds: int = 0
    wrapup_milliseconds: int = 0


S = TypeVar("S", QueueSum, AgentSum)

PASSAGE_KEY = ("linkedid", "ordinal")
PASSAGE_INDEXES = ("CREATE INDEX {name}_entered ON {table} (entered_at)",)
RING_KEY = ("linkedid", "ordinal")
RING_INDEXES = ("CREATE INDEX {name}_at ON {table} (at)",)
QUEUE_SUM_KEY = ("queue", "at")
QUEUE_SUM_INDEXES = ("CREATE INDEX {name}_at ON {table} (at)",)
AGENT_SUM_KEY = ("agent", "at")
AGENT_SUM_INDEXES = ("CREATE INDEX {name}_at ON {table} (at)",)


def as_json(part: QueuePassage | AgentRing) -> dict[str, Any]:
    """Return a passage or a ring as an item of `CallRow.passages` or `CallRow.agent_rings`."""
    item: dict[str, Any] = msgspec.to_builtins(part)
    del item["pbx"], item["linkedid"]
    return item


def passages_of(row: CallRow) -> list[QueuePassage]:
    """Return the passages of a call as rows."""
    return [replace(msgspec.convert(item, QueuePassage), pbx=row.pbx, linkedid=row.linkedid) for item in row.passages]


def rings_of(row: CallRow) -> list[AgentRing]:
    """Return the rings of a call's agents as rows."""
    return [replace(msgspec.convert(item, AgentRing), pbx=row.pbx, linkedid=row.linkedid) for item in row.agent_rings]


def queue_quarters_of(row: CallRow) -> list[QueueSum]:
    """Return what a call adds to the quarters of its queues, one sum a quarter and queue."""
    return _by_key([queue_sum(passage, QUARTER) for passage in passages_of(row)], "queue", add_queue)


def queue_hours_of(row: CallRow) -> list[QueueSum]:
    """Return what a call adds to the hours of its queues, one sum an hour and queue."""
    return _by_key([queue_sum(passage, HOUR) for passage in passages_of(row)], "queue", add_queue)


def agent_quarters_of(row: CallRow) -> list[AgentSum]:
    """Return what a call adds to the quarters of its agents, one sum a quarter and agent."""
    return _by_key([agent_sum(ring, QUARTER) for ring in rings_of(row)], "agent", add_agent)


def agent_hours_of(row: CallRow) -> list[AgentSum]:
    """Return what a call adds to the hours of its agents, one sum an hour and agent."""
    return _by_key([agent_sum(ring, HOUR) for ring in rings_of(row)], "agent", add_agent)


def _by_key(contributions: list[S], name: str, add: Callable[[S, S], S]) -> list[S]:
    sums: dict[tuple[str, datetime], S] = {}
    for one in contributions:
        key = (getattr(one, name), one.at)
        sums[key] = add(sums[key], one) if key in sums else one
    return list(sums.values())


def queue_sum(passage: QueuePassage, unit: int) -> QueueSum:
    """Return the sum of one passage, in the bucket of ``unit`` seconds in which the caller entered."""
    outcome = passage.outcome or "waiting"
    wait = None if passage.wait_seconds is None else milliseconds(passage.wait_seconds)
    is_wait = wait is not None and outcome in {"answered", "abandoned"}
    one = QueueSum(
        pbx=passage.pbx,
        queue=passage.queue,
        at=bucket_start(passage.entered_at, unit),
        waits=int(is_wait),
        wait_milliseconds=wait or 0 if is_wait else 0,
        longest_milliseconds=wait or 0 if is_wait else 0,
        talk_milliseconds=milliseconds(passage.talk_seconds),
        transferred=int(passage.is_transferred),
        ring_no_answers=passage.ring_no_answers,
    )
    if is_wait:
        setattr(one, f"{outcome}_waits", f"{{{wait}}}")
        setattr(one, f"{outcome}_counts", "{1}")
    setattr(one, "queue_full" if outcome == "full" else outcome if outcome in COUNTED else "unknown", 1)
    return one


def agent_sum(ring: AgentRing, unit: int) -> AgentSum:
    """Return the sum of one ring, in the bucket of ``unit`` seconds in which it was answered, or else ended."""
    return AgentSum(
        pbx=ring.pbx,
        agent=ring.agent,
        at=bucket_start(ring.at, unit),
        offered=1,
        answered=int(ring.outcome == "answered"),
        ring_no_answers=int(ring.outcome == "ring_no_answer"),
        transferred=int(ring.is_transferred),
        talk_milliseconds=milliseconds(ring.talk_seconds),
        hold_milliseconds=milliseconds(ring.hold_seconds),
        wrapup_milliseconds=milliseconds(ring.wrapup_seconds),
    )


COUNTED = frozenset({*OUTCOMES, "waiting"} - {"full"})
QUEUE_AMOUNTS = tuple(
    name for name, kind in QueueSum.__annotations__.items() if kind is int and name != "longest_milliseconds"
)
AGENT_AMOUNTS = tuple(name for name, kind in AgentSum.__annotations__.items() if kind is int)


def add_queue(one: QueueSum, other: QueueSum) -> QueueSum:
    """Return the sum of two sums of the same queue and time."""
    total = replace(one, **{name: getattr(one, name) + getattr(other, name) for name in QUEUE_AMOUNTS})
    return _with_waits(total, other, 1)


def subtract_queue(one: QueueSum, other: QueueSum) -> QueueSum:
    """Return a sum without another one that was added to it before."""
    left = replace(one, **{name: getattr(one, name) - getattr(other, name) for name in QUEUE_AMOUNTS})
    return _with_waits(left, other, -1)


def add_agent(one: AgentSum, other: AgentSum) -> AgentSum:
    """Return the sum of two sums of the same agent and time."""
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in AGENT_AMOUNTS})


def subtract_agent(one: AgentSum, other: AgentSum) -> AgentSum:
    """Return a sum without another one that was added to it before."""
    return replace(one, **{name: getattr(one, name) - getattr(other, name) for name in AGENT_AMOUNTS})


def bucket_start(when: datetime, unit: int) -> datetime:
    """Return the start of the bucket of ``unit`` seconds, counted from midnight of UTC."""
    return datetime.fromtimestamp(int(when.timestamp() // unit) * unit, UTC)


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds."""
    return round(seconds * 1000)


def numbers(text: str) -> list[int]:
    """Return the numbers of an array as PostgreSQL writes it."""
    return [int(number) for number in text[1:-1].split(",")] if len(text) > 2 else []


def array_text(values: Iterable[int]) -> str:
    """Return numbers as PostgreSQL writes their array."""
    return f"{{{','.join(map(str, values))}}}"


def counted(waits: str, counts: str) -> dict[int, int]:
    """Return how many passages had each of the waits."""
    by_wait, before = {}, 0
    for wait, total in zip(numbers(waits), numbers(counts), strict=True):
        by_wait[wait], before = total - before, total
    return by_wait


def _with_waits(row: QueueSum, other: QueueSum, sign: int) -> QueueSum:
    """Return the row, with the waits of the other one added or subtracted."""
    for waits, counts in (("answered_waits", "answered_counts"), ("abandoned_waits", "abandoned_counts")):
        changes = counted(getattr(other, waits), getattr(other, counts))
        if not changes:
            continue
        by_wait = counted(getattr(row, waits), getattr(row, counts))
        for wait, change in changes.items():
            by_wait[wait] = by_wait.get(wait, 0) + sign * change
            if by_wait[wait] < 0:
                raise ValueError(f"{waits}: {wait} ms is subtracted, but was not added")
        present = sorted(wait for wait, count in by_wait.items() if count)
        setattr(row, waits, array_text(present))
        setattr(row, counts, array_text(accumulate(by_wait[wait] for wait in present)))
    lasts = [text.rpartition(",")[2].strip("{}") for text in (row.answered_waits, row.abandoned_waits)]
    row.longest_milliseconds = max(int(last or 0) for last in lasts)
    return row
