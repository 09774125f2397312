"""Callers who wait in queues, each at the position that `queue show` gives them.

A position is the rank in the queue's order, 1 to n without holes. A caller who joins or leaves moves others, so every
event is folded into all callers of its queue. The folds keep the order. A late event, which the list already contains,
does not change it: a caller who is in the queue keeps the position.

Asterisk sends no event for a changed priority (QueueChangePriorityCaller with Immediate), nor for a changed caller id
while waiting. The next list has the priority, and the view takes caller ids from ``channels``.
"""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from projections.engine.durations import corrected, start_time
from projections.engine.model import GroupHandler, Handler, Key, ReadModel, Row
from projections.queues import queue_channels
from projections.queues.queue_channels import CallerMove, keep_row, no_row
from schemas.ami.channel import BridgeMember, HangupEvent, Rename
from schemas.ami.core import LinkBanner
from schemas.ami.queue import QueueCaller, QueueEntryListed
from schemas.ami.transfer import AttendedTransfer


class QueueEntry(Row):
    """One caller; only lists have ``priority``.

    A view's wait is now less ``joined`` (UTC, by Ringledger's clock, see `durations`).
    """

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


def by_ended(e: QueueCaller | None) -> Key | None:
    return by_caller(e) if e else None


def by_move(e: CallerMove | None) -> Key | None:
    return (e.queue,) if e else None


def by_rename(e: tuple[Key, str] | None) -> Key | None:
    return e[0] if e else None


def insert(rows: Entries, key: Key, row: QueueEntry, position: int) -> Entries:
    """Return the entries with ``row`` inserted at ``position``, and new positions for all."""
    order = [k for k in in_order(rows) if k != key]
    order.insert(max(position - 1, 0), key)
    return renumber({**rows, key: row}, order)


def in_order(rows: Entries) -> list[Key]:
    return sorted(rows, key=lambda k: (rows[k].position, rows[k].joined is None, rows[k].joined, k))


def renumber(rows: Entries, order: list[Key]) -> Entries:
    return {k: rows[k] if rows[k].position == i else replace(rows[k], position=i) for i, k in enumerate(order, start=1)}


def join(rows: Entries, e: QueueCaller) -> Entries:
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
        joined=start_time(e),
    )
    return insert(rows, key, row, e.position)


def leave(rows: Entries, e: QueueCaller) -> Entries:
    rows.pop((e.queue, e.unique_id), None)
    return renumber(rows, in_order(rows))


def move(rows: Entries, e: CallerMove) -> Entries:
    """Put the replacing channel at the caller's position; a list may have named that channel already."""
    old, new = rows.pop((e.queue, e.unique_id), None), e.replacement
    key: Key = (e.queue, new.unique_id)
    if old is None:
        return rows
    if key in rows:
        return renumber(rows, in_order(rows))
    row = replace(
        old,
        unique_id=new.unique_id,
        linked_id=new.linked_id,
        channel=new.channel,
        caller_id_name=new.caller_id_name,
        caller_id_num=new.caller_id_num,
        connected_line_name=new.connected_line_name,
        connected_line_num=new.connected_line_num,
    )
    return {**rows, key: row}


def rename(rows: Entries, e: tuple[Key, str]) -> Entries:
    key, name = e
    return {**rows, key: replace(rows[key], channel=name)} if key in rows else rows


def apply_list_item(rows: Entries, e: QueueEntryListed) -> Entries:
    """Insert a listed caller; a queue's items come in order, so callers missing from the list end up last."""
    key: Key = (e.queue, e.unique_id)
    old = rows.get(key)
    row = QueueEntry(
        pbx=e.pbx,
        tm_update=e.at,
        queue_name=e.queue,
        unique_id=e.unique_id,
        linked_id=old.linked_id if old else None,
        channel=e.channel,
        caller_id_name=event_name(e.caller_id_name),
        caller_id_num=event_name(e.caller_id_num),
        connected_line_name=event_name(e.connected_line_name),
        connected_line_num=event_name(e.connected_line_num),
        priority=e.priority,
        joined=corrected(old.joined if old else None, start_time(e, e.wait)),
    )
    return insert(rows, key, row, e.position)


def event_name(name: str) -> str:
    """Return the name as events write it: lists have ``unknown`` where events have ``<unknown>``."""
    return "<unknown>" if name == "unknown" else name


QUEUE_ENTRIES = ReadModel(
    name="queue_entries",
    version=2,
    row=QueueEntry,
    key=("queue_name", "unique_id"),
    on={
        "Connected": Handler(LinkBanner, no_row, keep_row, context=queue_channels.forget_all),
        "QueueEntry": GroupHandler(
            QueueEntryListed, by_caller, apply_list_item, list_item_wins=True, context=queue_channels.remember_entry
        ),
        "QueueCallerJoin": GroupHandler(QueueCaller, by_caller, join, context=queue_channels.remember_caller),
        "QueueCallerLeave": GroupHandler(
            QueueCaller, by_caller, leave, deletes_unseen=True, context=queue_channels.forget_caller
        ),
        "AttendedTransfer": GroupHandler(AttendedTransfer, by_move, move, context=queue_channels.move_caller),
        "Rename": GroupHandler(Rename, by_rename, rename, context=queue_channels.rename_caller),
        "BridgeEnter": GroupHandler(
            BridgeMember, by_ended, leave, deletes_unseen=True, context=queue_channels.end_wait
        ),
        "Hangup": GroupHandler(HangupEvent, by_ended, leave, deletes_unseen=True, context=queue_channels.end_wait),
    },
    lists={"QueueStatus": None},
    grouped_by=1,
)
