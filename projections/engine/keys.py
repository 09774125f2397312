"""Keys of rows, and how long PostgreSQL's index lets them be."""

from typing import Any

Key = tuple[Any, ...]

MAX_KEY_BYTES = 2400
"""Bytes of a row's key that PostgreSQL's index takes (2,704, with its own overhead). Asterisk has no such names."""


def is_short(key: Key) -> bool:
    """Return whether the index takes the key."""
    return _size(key) <= MAX_KEY_BYTES


def check_key(key: Key) -> None:
    """Raise ValueError for a key that is too long for the index; the fold then rejects the event."""
    size = _size(key)
    if size > MAX_KEY_BYTES:
        raise ValueError(f"a key of {size} bytes, where {MAX_KEY_BYTES} are the most")


def _size(key: Key) -> int:
    size = sum([len(part) for part in key if isinstance(part, str)])
    if 4 * size <= MAX_KEY_BYTES:  # UTF-8 has at most four bytes a character
        return size
    return sum([len(part.encode("utf-8", "replace")) for part in key if isinstance(part, str)])
