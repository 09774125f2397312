"""The log positions behind each item of a call: which events began, changed or ended a ring, a conversation, a hold.

Nothing of it is stored. An explanation folds the call again, and compares the call before and after each event.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from projections.calls.call_rows import CallRow, as_wire
from projections.calls.story.row import call_of
from projections.engine.trace import Step

Item = Mapping[str, Any]

LISTS: dict[str, tuple[str, ...]] = {
    "rings": ("to", "started_at"),
    "conversations": ("parties", "started_at", "conference"),
    "transfers": ("by", "at"),
    "pickups": ("by", "at"),
    "forwards": ("by", "at"),
    "queues": ("queue", "entered_at"),
    "holds": ("by", "from"),
    "parks": ("party", "from"),
    "conferences": ("party", "name", "from"),
    "voicemails": ("party", "mailbox", "at"),
    "recordings": ("party", "started_at"),
    "legs": ("unique_id",),
}
"""The lists of a call, and the members that tell their items apart for as long as they exist."""


MOST_POSITIONS = 100
"""Positions of one item: the first ones, and the last. A channel has one for each report of its quality."""


class CallPositions:
    """The positions of the items of one call; `add` takes the steps of its row and those of its aliases in order."""

    def __init__(self) -> None:
        self._items: dict[Any, Any] = {}
        self._positions: dict[Any, list[int]] = {}

    def add(self, step: Step) -> None:
        """Note the items that an event changed; a merge moves them to another row without a change."""
        if step.after is None:
            return
        for identity, item in items_of(call_object(step.after)):
            if self._items.get(identity) == item:
                continue
            self._items[identity] = item
            positions = self._positions.setdefault(identity, [])
            if len(positions) == MOST_POSITIONS:
                positions.pop()
            positions.append(step.event.position)

    def of(self, call: Item) -> dict[str, list[list[int]]]:
        """Return the positions of each item, in lists that are parallel to those of the call."""
        made: dict[str, list[list[int]]] = {name: [] for name in LISTS}
        for identity, _ in items_of(call):
            made[identity[0]].append(self._positions.get(identity, []))
        return made


def call_object(row: CallRow) -> dict[str, Any]:
    """Return the object of a row, ended or not."""
    return row.body if row.body is not None else as_wire(call_of(row))


def items_of(call: Item) -> Iterator[tuple[Any, Any]]:
    """Yield the identity of each item, and the item with the unique ids of its persons.

    A person's number and name belong to the channel, so a change of these is no change of the item.
    """
    for name, members in LISTS.items():
        count: dict[Any, int] = {}
        for one in call[name]:
            item = {member: _plain(value) for member, value in one.items()}
            identity = (name, *(item[member] for member in members))
            count[identity] = number = count.get(identity, -1) + 1
            yield (*identity, number), item


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("unique_id", tuple(sorted(value.items(), key=str)))
    if isinstance(value, list):
        return tuple(sorted((_plain(one) for one in value), key=str))
    return value
