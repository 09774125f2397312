"""The status of the listeners: from PostgreSQL, or from this machine's status file while PostgreSQL is away."""

import asyncio
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from services.database.errors import UNREACHABLE
from services.database.pool import Pool
from services.log.listener_link import LISTENER_TTL_SECONDS
from services.runtime.clock import CLOCK, UNKNOWN, Clock, boot_id

ANSWER_SECONDS = 2.0
CLOCK_SECONDS = 5.0
"""A larger difference means that the clock of the PBX or of the listener is wrong.

NTP keeps both within one second, and a Pong is right to half a second.
"""

SQL = """
SELECT pbx, kind, holder <> 0 AS holding, abs(extract(epoch FROM ledger.clock() - renewed))::float8 AS age, status
FROM ledger.listener
ORDER BY pbx, kind
"""


class SpoolStatus(Struct, frozen=True):
    """The spool of a listener; it stops reading when the spool has ``limit`` bytes."""

    events: int = 0
    bytes: int = 0
    limit: int = 0
    error: str = ""


class ListenerStatus(Struct, frozen=True):
    """One listener. It is ``holding`` the lease of a PBX and kind (ami, ari), or it stands by.

    ``waiting`` is the number of events in its memory, ``age`` the seconds since it wrote this status. ``stalled`` is
    the seconds for which events have waited while none reached the log; ``paused`` means that it has stopped reading.
    ``clock_offset`` is the seconds by which the PBX's clock is ahead of the listener's, None while unknown.
    """

    pbx: str
    kind: str
    holding: bool = False
    link: str = "down"
    waiting: int = 0
    spool: SpoolStatus = field(default_factory=SpoolStatus)
    paused: bool = False
    stalled: float = 0.0
    age: float = 0.0
    clock_offset: float | None = None

    @property
    def is_absent(self) -> bool:
        """Whether it has ended, with its lease or without."""
        return self.age > LISTENER_TTL_SECONDS

    @property
    def clock_warning(self) -> str:
        """A sentence that names the difference, empty while the clocks agree to `CLOCK_SECONDS`."""
        if self.clock_offset is None or abs(self.clock_offset) < CLOCK_SECONDS:
            return ""
        side = "ahead of" if self.clock_offset > 0 else "behind"
        return f"the clock of {self.pbx} is {abs(self.clock_offset):.0f} s {side} the listener's"


class StatusFile(Struct, frozen=True):
    """The status file of ``at``, seconds since the epoch; ``passed`` and ``boot`` are as in `schemas.listener`."""

    at: float
    listeners: list[ListenerStatus]
    passed: float = 0.0
    boot: str = ""

    def age(self, clock: Clock) -> float:
        """Return the age of the file in seconds, by the monotonic clock unless the machine has been booted since."""
        if self.boot == boot_id() != UNKNOWN:
            return clock.monotonic() - self.passed
        return abs(clock.now() - self.at)


class ListenerReport(Struct, frozen=True):
    """The status of all listeners, and its source: ``database`` or ``file``."""

    source: str
    listeners: list[ListenerStatus]


async def listener_report(pool: Pool, data: Path, *, away: bool) -> ListenerReport:
    """Query PostgreSQL, unless it is ``away``; read the file if PostgreSQL does not answer in time."""
    if not away:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return ListenerReport("database", [_status(row) for row in await pool.fetch(SQL)])
        except UNREACHABLE as error:
            pool.outage.fail(error, asked="listeners")
    return ListenerReport("file", read_status_file(data / "listeners.json"))


def _status(row: asyncpg.Record) -> ListenerStatus:
    return _now(msgspec.convert({**row["status"], **{k: v for k, v in row.items() if k != "status"}}, ListenerStatus))


def _now(last: ListenerStatus) -> ListenerStatus:
    """Return the last status of a listener; the link of an absent one is down."""
    return replace(last, link="down") if last.is_absent else last


def read_status_file(file: Path, clock: Clock = CLOCK) -> list[ListenerStatus]:
    """Return what the listeners of this machine wrote last, nothing if none ever ran."""
    try:
        board = msgspec.json.decode(file.read_bytes(), type=StatusFile)
    except FileNotFoundError:
        return []
    age = board.age(clock)
    return [_now(replace(one, age=age)) for one in board.listeners]
