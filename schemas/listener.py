"""What a listener says of itself: every second in ledger.listener, and in a file on its own machine."""

from typing import Literal

from msgspec import Struct

from schemas.spool import SpoolState


class ListenerState(Struct, frozen=True):
    """``waiting`` is how many events are in memory and not in the log yet, ``spool`` what waits on disk."""

    link: Literal["up", "down"]
    waiting: int
    spool: SpoolState


class Posted(Struct, frozen=True):
    """One listener of a process; it is ``holding`` the lease, or stands by."""

    pbx: str
    kind: str
    holding: bool
    link: Literal["up", "down"]
    waiting: int
    spool: SpoolState


class Board(Struct, frozen=True):
    """The file ``listeners.json``: what was so at ``at`` (seconds since the epoch)."""

    at: float
    listeners: list[Posted]
