"""Types for damage of the log, shared by all checks."""

from collections.abc import Callable

from msgspec import Struct


class DamageError(Exception):
    """The log differs from what was appended. ``kind``: altered, missing, inserted, reordered, rewritten, miscounted.

    ``position`` is the first one concerned; the message is one line and names it.
    """

    def __init__(self, kind: str, what: str, first: int, reason: str, last: int = 0) -> None:
        plural = "s" if what == "event" and last > first else ""
        super().__init__(f"{what}{plural} {first}{f' to {last}' if last > first else ''} {kind}: {reason}")
        self.kind = kind
        self.position = first


class BatchBoundary(Struct, frozen=True):
    """The boundary between two batches: the last position of the first one, and its hash."""

    position: int
    hash: bytes


LeafMatcher = Callable[[int, bytes, bytes], bool]
"""Returns whether an event (position, sealed leaf, present leaf) may have its present leaf, with redactions applied."""
