"""What listeners say of themselves: from PostgreSQL, or when that does not answer from the file of this machine."""

import asyncio
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from services.database import connection as database
from services.database.pool import Pool
from services.log.listener_link import LISTENER_SECONDS
from services.runtime.clock import CLOCK, UNKNOWN, Clock, boot_id

ANSWER_SECONDS = 2.0
CLOCK_SECONDS = 5.0
"""From here on a PBX's clock is wrong, or ours.

NTP keeps both within one second, and a Pong is right to half a second.
"""

SQL = """
SELECT pbx, kind, holder <> 0 AS holding, abs(extract(epoch FROM ledger.clock() - renewed))::float8 AS age, status
FROM ledger.listener
ORDER BY pbx, kind
"""


class SpoolStatus(Struct, frozen=True):
    """What waits on a listener's disk; ``limit`` is the number of bytes from which on it reads no more."""

    events: int = 0
    bytes: int = 0
    limit: int = 0
    error: str = ""


class ListenerStatus(Struct, frozen=True):
    """One listener: it is ``holding`` the lease of a PBX and kind (ami, ari), or it stands by.

    ``waiting`` is how many events it has in memory, and ``age`` how many seconds ago it said all this. ``stalled`` is
    for how many seconds events have waited without one of them reaching the log, ``paused`` that it reads no more.
    ``clock_offset`` is how many seconds the PBX's clock is ahead of the listener's, None while unknown.
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
        return self.age > LISTENER_SECONDS

    @property
    def clock_warning(self) -> str:
        """A sentence that names the difference, empty while the clocks agree to `CLOCK_SECONDS`."""
        if self.clock_offset is None or abs(self.clock_offset) < CLOCK_SECONDS:
            return ""
        side = "ahead of" if self.clock_offset > 0 else "behind"
        return f"the clock of {self.pbx} is {abs(self.clock_offset):.0f} s {side} ours"


class StatusFile(Struct, frozen=True):
    """The file: what was so at ``at``, seconds since the epoch; ``passed`` and ``boot`` as in ``schemas.listener``."""

    at: float
    listeners: list[ListenerStatus]
    passed: float = 0.0
    boot: str = ""

    def age(self, clock: Clock) -> float:
        """Return how many seconds ago that was: by the monotonic clock, unless the machine has been booted since."""
        if self.boot == boot_id() != UNKNOWN:
            return clock.passed() - self.passed
        return abs(clock.now() - self.at)


class ListenerReport(Struct, frozen=True):
    """What is known, and whether ``database`` or ``file`` told it."""

    told_by: str
    listeners: list[ListenerStatus]


async def listener_report(pool: Pool, data: Path, *, away: bool) -> ListenerReport:
    """Ask PostgreSQL, unless it is known to be ``away``; and the file if it does not answer in time."""
    if not away:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return ListenerReport("database", [_said(row) for row in await pool.fetch(SQL)])
        except database.UNREACHABLE as error:
            pool.outage.fail(error, asked="listeners")
    return ListenerReport("file", read_status_file(data / "listeners.json"))


def _said(row: asyncpg.Record) -> ListenerStatus:
    return _now(msgspec.convert({**row["status"], **{k: v for k, v in row.items() if k != "status"}}, ListenerStatus))


def _now(last: ListenerStatus) -> ListenerStatus:
    """Return what a listener showed last, without the link if it is not there any more."""
    return replace(last, link="down") if last.is_absent else last


def read_status_file(file: Path, clock: Clock = CLOCK) -> list[ListenerStatus]:
    """Return what the listeners of this machine wrote last; nothing where none ever ran."""
    try:
        board = msgspec.json.decode(file.read_bytes(), type=StatusFile)
    except FileNotFoundError:
        return []
    age = board.age(clock)
    return [_now(replace(one, age=age)) for one in board.listeners]
