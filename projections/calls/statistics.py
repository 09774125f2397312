"""Call statistics per day and month: sums over call records, per PBX, queue, agent and endpoint."""

from datetime import datetime
from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.calls.call_records import (
    CallRecord,
    keep_record,
    member_of,
    no_row,
    record_of,
    remember_call,
    remember_optimization,
)
from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.cdr import Cdr, QueueCall
from schemas.ami.transfer import LocalOptimization


class Statistics(Row):
    """One period (``2026-11-22`` or ``2026-11``, UTC) of one PBX, queue, agent or endpoint (``scope``).

    A call record belongs to the day on which it starts, and to every endpoint at its ends but Local channels.
    ``calls`` counts call records, and the next five divide them by disposition: a queue that rings three phones for a
    caller has three records. ``talk_seconds`` sums BillableSeconds, ``longest_seconds`` is the largest of them;
    ``ring_seconds`` sums the time from start to answer, or to the end of an unanswered call. ``by_hour`` counts calls
    by the UTC hour of their start.

    Where the dialplan answers before Queue(), Asterisk's records are ANSWERED for callers whom no member answered. So a
    queue also counts its own events, by their time: callers that ``entered``, and were ``connected`` to a member. An
    agent has ``connected``. ``label`` is the agent's latest name in a queue.

    No view shows ``abandoned`` and ``wait_seconds``: Asterisk sends QueueCallerAbandon for timeouts too, so these come
    from passages (``queue_hours``). The columns remain, because an archived saved state must have those of its model.
    """

    period: str
    scope: str
    name: str
    label: str = ""
    calls: int = 0
    answered: int = 0
    no_answer: int = 0
    busy: int = 0
    failed: int = 0
    congestion: int = 0
    talk_seconds: int = 0
    ring_seconds: int = 0
    longest_seconds: int = 0
    by_hour: list[int] = field(default_factory=lambda: [0] * 24)
    entered: int = 0
    connected: int = 0
    abandoned: int = 0
    wait_seconds: int = 0


def initial(key: Key, e: Any) -> Statistics:
    period, scope, name = key
    return Statistics(e.pbx, e.at if isinstance(e, QueueCall) else e.tm_update, period, scope, name)


def periods(when: datetime) -> tuple[str, str]:
    day = when.date().isoformat()
    return day, day[:7]


def of_record(record: CallRecord) -> list[Key]:
    """Return the keys of all rows that a call record counts in."""
    names = {("pbx", record.pbx), ("queue", record.queue), ("agent", record.agent)}
    names |= {
        ("endpoint", end)
        for end in (record.endpoint, record.destination_endpoint)
        if end and not end.startswith("Local/")
    }
    return [(period, scope, name) for period in periods(record.start_time) for scope, name in names if name]


def of_queue(e: QueueCall) -> list[Key]:
    return [(period, "queue", e.queue) for period in periods(e.at) if e.queue]


def of_member(e: QueueCall) -> list[Key]:
    member = member_of(e.interface)
    return of_queue(e) + [(period, "agent", member) for period in periods(e.at) if member]


def count_record(row: Statistics, record: CallRecord) -> Statistics:
    by_hour = row.by_hour.copy()
    by_hour[record.start_time.hour] += 1
    rang_until = record.answer_time or record.end_time
    word = record.disposition
    return replace(
        row,
        label=record.agent_name or row.label if row.scope == "agent" else "",
        calls=row.calls + 1,
        answered=row.answered + (word == "ANSWERED"),
        no_answer=row.no_answer + (word == "NO ANSWER"),
        busy=row.busy + (word == "BUSY"),
        failed=row.failed + (word == "FAILED"),
        congestion=row.congestion + (word == "CONGESTION"),
        talk_seconds=row.talk_seconds + record.billable_seconds,
        ring_seconds=row.ring_seconds + int((rang_until - record.start_time).total_seconds()),
        longest_seconds=max(row.longest_seconds, record.billable_seconds),
        by_hour=by_hour,
    )


def count_entry(row: Statistics, _e: QueueCall) -> Statistics:
    return replace(row, entered=row.entered + 1)


def count_connection(row: Statistics, e: QueueCall) -> Statistics:
    if row.scope == "agent":
        return replace(row, connected=row.connected + 1, label=e.member_name or row.label)
    return replace(row, connected=row.connected + 1, wait_seconds=row.wait_seconds + e.hold_time)


def count_abandonment(row: Statistics, e: QueueCall) -> Statistics:
    return replace(row, abandoned=row.abandoned + 1, wait_seconds=row.wait_seconds + e.hold_time)


STATISTICS = ReadModel(
    name="statistics",
    version=3,
    row=Statistics,
    key=("period", "scope", "name"),
    is_state=False,
    on={
        **dict.fromkeys(
            ("AgentCalled", "AgentComplete"), Handler(QueueCall, no_row, keep_record, context=remember_call)
        ),
        "LocalOptimizationBegin": Handler(LocalOptimization, no_row, keep_record, context=remember_optimization),
        "Cdr": Handler(Cdr, of_record, count_record, initial=initial, context=record_of),
        "QueueCallerJoin": Handler(QueueCall, of_queue, count_entry, initial=initial),
        "AgentConnect": Handler(QueueCall, of_member, count_connection, initial=initial, context=remember_call),
        # Asterisk also sends QueueCallerAbandon when the queue's timeout ends the wait, and for QueueWithdrawCaller.
        "QueueCallerAbandon": Handler(QueueCall, of_queue, count_abandonment, initial=initial),
    },
)
