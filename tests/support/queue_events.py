"""Events of the queue q, for the folds of queues."""

from typing import Any

from projections.queues.queue_entries import QUEUE_ENTRIES
from projections.queues.queue_members import QUEUE_MEMBERS
from projections.queues.queues import QUEUES
from schemas.log import NewEvent
from tests.support.folding import FoldSpec, ListSnapshot, block

MODELS = (QUEUES, QUEUE_MEMBERS, QUEUE_ENTRIES)


def join(caller: str, position: int, count: int, at: float = 1000.0) -> NewEvent:
    return block(
        "QueueCallerJoin", at, Queue="q", Uniqueid=caller, Channel=f"C/{caller}", Position=position, Count=count
    )


def leave(caller: str, position: int, count: int) -> NewEvent:
    return block("QueueCallerLeave", Queue="q", Uniqueid=caller, Channel=f"C/{caller}", Position=position, Count=count)


def entry(snapshot: ListSnapshot, caller: str, position: int, wait: int = 0) -> NewEvent:
    return snapshot.item("QueueEntry", Queue="q", Uniqueid=caller, Channel=f"C/{caller}", Position=position, Wait=wait)


def order(tables: FoldSpec) -> list[str]:
    """Return the callers by position, after a check that the positions are 1 to n."""
    rows = sorted(tables.then(QUEUE_ENTRIES).values(), key=lambda row: row.position)
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    return [row.unique_id for row in rows]


def queue(snapshot: ListSnapshot, **headers: Any) -> NewEvent:
    defaults = {"Queue": "q", "Max": 0, "Strategy": "ringall", "Calls": 0, "Holdtime": 0, "TalkTime": 0, "Completed": 0}
    defaults |= {"Abandoned": 0, "ServiceLevel": 10, "ServicelevelPerf": "0.0", "ServicelevelPerf2": "0.0", "Weight": 0}
    return snapshot.item("QueueParams", **(defaults | headers))


def member(snapshot: ListSnapshot, location: str = "SIP/1", **headers: Any) -> NewEvent:
    defaults = {
        "Queue": "q",
        "Name": "Ann",
        "Location": location,
        "Status": 1,
        "CallsTaken": 0,
        "LastCall": 0,
        "InCall": 0,
    }
    return snapshot.item("QueueMember", **(defaults | headers))


def abandon(caller: str, hold_time: int = 10) -> NewEvent:
    return block("QueueCallerAbandon", Queue="q", Uniqueid=caller, HoldTime=hold_time)


def call(event: str, caller: str, location: str = "SIP/1", at: float = 1000.0, **headers: Any) -> NewEvent:
    return block(event, at, Queue="q", Interface=location, MemberName="Ann", Uniqueid=caller, **headers)
