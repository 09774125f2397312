"""What a listener says of itself: every second in ledger.listener, and in a file on its own machine."""

from typing import Literal

from msgspec import Struct

from schemas.spool import SpoolState


class ListenerState(Struct, frozen=True):
    """``waiting`` is how many events are in memory and not in the log yet, ``spool`` what waits on disk.

    ``paused``: the listener reads no more from the PBX until there is room. ``stalled`` is for how many seconds events
    have waited without one of them reaching the log. ``clock_offset`` is how many seconds the PBX's clock is ahead of
    ours, None while unknown.
    """

    link: Literal["up", "down"]
    waiting: int
    spool: SpoolState
    paused: bool = False
    stalled: float = 0.0
    clock_offset: float | None = None


class Posted(Struct, frozen=True):
    """One listener of a process; it is ``holding`` the lease, or stands by."""

    pbx: str
    kind: str
    holding: bool
    link: Literal["up", "down"]
    waiting: int
    spool: SpoolState
    paused: bool = False
    stalled: float = 0.0
    clock_offset: float | None = None


class Board(Struct, frozen=True):
    """The file ``listeners.json``: what was so at ``at`` (seconds since the epoch).

    ``passed`` is the same moment by the monotonic clock of the machine's boot ``boot``.
    """

    at: float
    listeners: list[Posted]
    passed: float = 0.0
    boot: str = ""
