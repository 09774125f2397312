"""The callback that follows the changes of rows during a fold."""

from collections.abc import Callable
from typing import Any

from projections.engine.keys import Key
from schemas.log import RecordedEvent

OnChange = Callable[[RecordedEvent, Key, Any, Any], None]
"""Called for each change of a row: the event, the full key, the row before and after it (None: no row)."""


def keeping_first(first: dict[Key, Any], on_change: OnChange | None) -> OnChange:
    """Return a callback that stores in ``first`` each row as it was before its first change."""

    def keep(event: RecordedEvent, key: Key, before: Any, after: Any) -> None:
        first.setdefault(key, before)
        if on_change is not None:
            on_change(event, key, before, after)

    return keep


def is_unchanged(before: Any, after: Any) -> bool:
    """Return whether two rows differ in ``tm_update`` at most."""
    return all(
        getattr(before, name) == getattr(after, name) for name in before.__struct_fields__ if name != "tm_update"
    )
