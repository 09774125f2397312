"""The status that a listener writes every second: to ledger.listener, and to a file on its own machine."""

from typing import Literal

from msgspec import Struct

from schemas.spool import SpoolState


class ListenerState(Struct, frozen=True):
    """The status of one listener; ``waiting`` counts the events in memory that are not in the log yet.

    ``paused``: the listener does not read from the PBX until there is room. ``stalled`` is the number of seconds
    without any append while events wait. ``clock_offset`` is how many seconds the PBX's clock is
    ahead of the listener's, None while unknown.
    """

    link: Literal["up", "down"]
    waiting: int
    spool: SpoolState
    paused: bool = False
    stalled: float = 0.0
    clock_offset: float | None = None


class ListenerEntry(Struct, frozen=True):
    """One listener in the status file; it is ``holding`` the lease, or stands by."""

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
    """The status file ``listeners.json``, as of ``at`` (seconds since the epoch).

    ``passed`` is the same moment by the monotonic clock of the machine's boot ``boot``.
    """

    at: float
    listeners: list[ListenerEntry]
    passed: float = 0.0
    boot: str = ""
