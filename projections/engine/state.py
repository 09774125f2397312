"""The state of a model between batches, besides its rows: the snapshots under way, and the memory of its handlers."""

import re
from typing import Any

from msgspec import Struct, field

from projections.engine.model import GroupHandler, Handler, Key
from schemas.log import RecordedEvent

# A PBX may send any ActionID, so an epoch has at most as many digits as fit a bigint.
ANSWER = re.compile(rb"\r\nActionID: ringledger/([0-9]{1,18})/([^/\r\n]+)")


def list_item(event: RecordedEvent) -> tuple[int, str] | None:
    """Return (epoch, action) if the block answers an action of a snapshot."""
    if event.source != "ami" or (match := ANSWER.search(event.raw)) is None:
        return None
    return int(match[1]), match[2].decode("ascii", "replace")


class Snapshot(Struct):
    """The snapshot under way at one PBX.

    ``open`` holds the actions whose list is not complete yet. ``marks`` holds the rows seen since the snapshot started,
    by key: ``listed``, ``live`` (a live event came; a list item is older), ``gone`` (a live event deleted the row; a
    list item must not create it again).
    """

    epoch: int
    open: set[str]
    marks: dict[str, str] = field(default_factory=dict)

    def is_marked(self, key: Key) -> bool:
        """Return whether a list item or a live event concerned this row."""
        return _mark(key) in self.marks

    def mark_event(self, handler: Handler | GroupHandler, key: Key, before: Any, after: Any) -> None:
        """Mark a row that a live event changed from ``before`` to ``after``."""
        if after is not None:
            self.marks[_mark(key)] = "live"
        elif handler.deletes_unseen or before is not None:
            self.marks[_mark(key)] = "gone"

    def mark_item(self, handler: Handler | GroupHandler, key: Key, *, is_own: bool) -> bool:
        """Mark a row as listed, and return whether a live event has overtaken the list item.

        ``is_own`` is False for an item that belongs to another snapshot, or to no list of the model: it marks nothing.
        """
        if not is_own:
            return self.marks.get(_mark(key)) == "gone"
        mark = self.marks.setdefault(_mark(key), "listed")
        return mark == "gone" or (mark == "live" and not handler.list_item_wins)

    def copy(self) -> "Snapshot":
        """Return a copy that shares nothing with this one."""
        return Snapshot(self.epoch, set(self.open), dict(self.marks))


class FoldState(Struct, omit_defaults=True):
    """Snapshots under way and handlers' memory (`Handler.context`), each by PBX."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    memory: dict[str, dict[str, Any]] = field(default_factory=dict)

    def copy(self) -> "FoldState":
        """Return a copy; values of the memory are shared, for they are never changed in place."""
        return FoldState(
            {pbx: snapshot.copy() for pbx, snapshot in self.snapshots.items()},
            {pbx: dict(memory) for pbx, memory in self.memory.items()},
        )


def _mark(key: Key) -> str:
    return "\x1f".join(map(str, key[1:]))
