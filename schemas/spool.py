"""What a spool says of itself."""

from msgspec import Struct


class SpoolState(Struct, frozen=True):
    """What waits on a listener's disk.

    ``limit`` is the number of bytes from which on reading stops; ``error`` is why the disk takes no more.
    """

    events: int = 0
    bytes: int = 0
    limit: int = 0
    error: str = ""
