"""The state of a spool."""

from msgspec import Struct


class SpoolState(Struct, frozen=True):
    """The events that wait on a listener's disk.

    ``limit`` is the number of bytes at which reading stops; ``error`` is why the disk accepts no more.
    """

    events: int = 0
    bytes: int = 0
    limit: int = 0
    error: str = ""
