"""Pages: a limit, and a cursor that the next request continues after."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def page(items: Sequence[T], limit: int, cursor_of: Callable[[T], int]) -> tuple[Sequence[T], int | None]:
    """Return the first ``limit`` items, and the cursor of the last of these, None if no more items follow."""
    if len(items) <= limit:
        return items, None
    return items[:limit], cursor_of(items[limit - 1])
