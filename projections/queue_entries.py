"""Callers who wait in queues, each at the position that `queue show` gives them.

A position is the rank in the queue's order, 1 to n without holes, so a caller who comes or goes moves others: every
event is folded into all callers of its queue. What folds keep is the order; an event that comes late (it happened
before the list was made, and the list has it already) does no harm to it: a caller who is in stays where they are.

No event tells of a changed priority (QueueChangePriorityCaller with Immediate) or of a changed caller id while
waiting: the next list does, and the view has caller ids from ``channels``.
"""

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from projections.kit import Key, Model, OnGroup, Row
from schemas.ami.queue import QueueCaller, QueueEntryListed


class QueueEntry(Row):
    """One caller; the wait is now less ``joined`` (UTC). Only a list tells ``priority``."""

    queue_name: str
    unique_id: str
    linked_id: str | None = None
    channel: str = ""
    caller_id_name: str = ""
    caller_id_num: str = ""
    connected_line_name: str = ""
    connected_line_num: str = ""
    position: int = 0
    priority: int | None = None
    joined: datetime | None = None


Entries = dict[Key, QueueEntry]


def by_caller(e: Any) -> Key | None:
    return (e.queue, e.unique_id) if e.queue and e.unique_id else None


def placed(rows: Entries, key: Key, row: QueueEntry, position: int) -> Entries:
    """Return the entries with ``row`` at ``position`` of the order, and all numbered anew."""
    order = [k for k in in_order(rows) if k != key]
    order.insert(max(position - 1, 0), key)
    return numbered({**rows, key: row}, order)


def in_order(rows: Entries) -> list[Key]:
    return sorted(rows, key=lambda k: (rows[k].position, rows[k].joined is None, rows[k].joined, k))


def numbered(rows: Entries, order: list[Key]) -> Entries:
    return {k: rows[k] if rows[k].position == i else replace(rows[k], position=i) for i, k in enumerate(order, start=1)}


def joined(rows: Entries, e: QueueCaller) -> Entries:
    key: Key = (e.queue, e.unique_id)
    if key in rows:
        return rows
    row = QueueEntry(
        pbx=e.pbx,
        tm_update=e.at,
        queue_name=e.queue,
        unique_id=e.unique_id,
        linked_id=e.linked_id,
        channel=e.channel,
        caller_id_name=e.caller_id_name,
        caller_id_num=e.caller_id_num,
        connected_line_name=e.connected_line_name,
        connected_line_num=e.connected_line_num,
        joined=e.at,
    )
    return placed(rows, key, row, e.position)


def left(rows: Entries, e: QueueCaller) -> Entries:
    rows.pop((e.queue, e.unique_id), None)
    return numbered(rows, in_order(rows))


def found(rows: Entries, e: QueueEntryListed) -> Entries:
    """Take a list item; a queue's items come in order, so callers whom the list lacks end up last, to be swept."""
    key: Key = (e.queue, e.unique_id)
    old = rows.get(key)
    row = QueueEntry(
        pbx=e.pbx,
        tm_update=e.at,
        queue_name=e.queue,
        unique_id=e.unique_id,
        linked_id=old.linked_id if old else None,
        channel=e.channel,
        caller_id_name=known(e.caller_id_name),
        caller_id_num=known(e.caller_id_num),
        connected_line_name=known(e.connected_line_name),
        connected_line_num=known(e.connected_line_num),
        priority=e.priority,
        joined=old.joined if old and old.joined else e.at - timedelta(seconds=min(max(e.wait, 0), 2**31)),
    )
    return placed(rows, key, row, e.position)


def known(name: str) -> str:
    """Return the name as events write it: the list says ``unknown`` where all else says ``<unknown>``."""
    return "<unknown>" if name == "unknown" else name


QUEUE_ENTRIES = Model(
    name="queue_entries",
    version=1,
    row=QueueEntry,
    key=("queue_name", "unique_id"),
    on={
        "QueueEntry": OnGroup(QueueEntryListed, by_caller, found, newer=True),
        "QueueCallerJoin": OnGroup(QueueCaller, by_caller, joined),
        "QueueCallerLeave": OnGroup(QueueCaller, by_caller, left, ends=True),
    },
    lists={"QueueStatus": None},
    grouped_by=1,
)
