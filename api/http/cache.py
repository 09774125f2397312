"""A cache of the most recently used values, up to a number of bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """The last used values. One value that is larger than ``max_bytes`` is kept, alone."""

    def __init__(self, max_bytes: int, size_of: Callable[[V], int], max_entries: int | None = None) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._size_of = size_of
        self._values: OrderedDict[K, V] = OrderedDict()
        self._bytes = 0

    def get(self, key: K) -> V | None:
        """Return a value, or None. The value becomes the last used one."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        """Store a value, and drop those that were used longest ago."""
        self.drop(key)
        self._values[key] = value
        self._bytes += self._size_of(value)
        while len(self._values) > 1 and (
            self._bytes > self._max_bytes or (self._max_entries and len(self._values) > self._max_entries)
        ):
            self.drop(next(iter(self._values)))

    def drop(self, key: K) -> None:
        """Drop the value of a key, if any."""
        if key in self._values:
            self._bytes -= self._size_of(self._values.pop(key))

    def clear(self) -> None:
        """Drop all values."""
        self._values.clear()
        self._bytes = 0
