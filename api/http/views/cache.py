"""A cache of the most recently used values, up to a number of bytes."""

from collections.abc import Callable
from typing import Any, TypeVar

from cachetools import LRUCache

V = TypeVar("V")


def byte_cache(max_bytes: int, size_of: Callable[[V], int], max_entries: int | None = None) -> LRUCache[Any, V]:
    """Return a cache of at most ``max_bytes`` and ``max_entries``.

    A value that is larger is kept, alone. To bound the entries, each value counts as at least its share of the bytes.
    """
    share = max_bytes // max_entries if max_entries else 0
    return LRUCache(max_bytes, getsizeof=lambda value: min(max(size_of(value), share), max_bytes))
