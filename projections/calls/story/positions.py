"""The log positions behind each item of a call: which events began, changed or ended a ring, a conversation, a hold.

Nothing of it is stored. An explanation folds the call again, and compares the call before and after each event.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from projections.calls.call_rows import CallRow
from projections.calls.story.row import call_of
from projections.engine.model import Key
from projections.engine.trace import Step

Item = Mapping[str, Any]
Call = dict[str, list[Item]]
"""The lists of a call."""

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
        self._calls: dict[Key, Call] = {}
        self._items: dict[Any, Any] = {}
        self._positions: dict[Any, list[int]] = {}

    def add(self, step: Step) -> None:
        """Note the items that an event changed; a merge moves them to another row without a change."""
        before: Call = self._calls.pop(step.key, {})
        if step.after is None:
            return
        after = self._calls[step.key] = lists_of(step.after)
        for name, items in after.items():
            old = before.get(name, [])
            for number, one in enumerate(items):
                # Most items are as they were: only the others are looked at closely.
                if number >= len(old) or old[number] != one:
                    self._compare(name, one, step.event.position)

    def _compare(self, name: str, one: Item, position: int) -> None:
        item = {member: _plain(value) for member, value in one.items()}
        identity = _identity(name, item)
        if self._items.get(identity) == item:
            return
        self._items[identity] = item
        positions = self._positions.setdefault(identity, [])
        if len(positions) == MOST_POSITIONS:
            positions.pop()
        positions.append(position)

    def of(self, row: CallRow) -> dict[str, list[list[int]]]:
        """Return the positions of each item, in lists that are parallel to those of the call."""
        return {
            name: [self._positions.get(_identity(name, one), []) for one in items]
            for name, items in lists_of(row).items()
        }


def lists_of(row: CallRow) -> Call:
    """Return the lists of a call, ended or not, with times as datetimes."""
    call = msgspec.to_builtins(call_of(row), builtin_types=(datetime,))
    return {name: call[name] for name in LISTS}


def _identity(name: str, item: Item) -> tuple[Any, ...]:
    return (name, *(_plain(item[member]) for member in LISTS[name]))


def _plain(value: Any) -> Any:
    """Return a value with the unique ids of its persons.

    A person's number and name belong to the channel, so a change of these does not change the item.
    """
    if isinstance(value, dict):
        return value.get("unique_id", tuple(sorted(value.items(), key=str)))
    if isinstance(value, list | tuple):
        return tuple(sorted((_plain(one) for one in value), key=str))
    return value
