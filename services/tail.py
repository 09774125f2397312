"""Follows the log from any position on: models folded in step from saved states, and what each event changed.

The tables that are served cannot tell that: a batch of many events is one change to them.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from msgspec import Struct

from projections.changes import Change, InStep
from schemas.log import Recorded
from services import edge, faults
from services.as_of import READ, SLICE, WINDOW, AsOf
from services.continuity import BEGINNING, LogEnd, RewoundError
from services.edge import ArchivedError
from services.instants import Instant
from services.log import recorded
from services.pool import Pool

FARTHEST = 2_000_000
"""Events that may be folded to come to where a tail begins; saved states stand nearer than that."""

AGAIN = faults.ANY
"""What may be tried again, and then goes on where it was: nothing that PostgreSQL says is about one event."""

# One statement, so that all of it is of one moment.
MOMENT = """
SELECT (SELECT position FROM ledger.head), (SELECT coalesce(max(last), 0) FROM ledger.archive),
       (SELECT coalesce(max(last), 0) FROM ledger.name WHERE source = 'ringledger' AND name = 'Redacted'),
       EXISTS (SELECT FROM ledger.stale), (SELECT hash FROM ledger.head), ledger.continues($1, $2)
"""


class RedactedError(Exception):
    """The log holds other bytes than those that were folded: nothing of what was folded may be told any more."""


class Moment(Struct, frozen=True):
    """Where the log ends (``head``), begins after (``edge``), and was redacted last; ``stale`` while that goes on.

    ``continues``: the log still has the end that was asked about.
    """

    head: int
    edge: int
    redacted: int
    stale: bool
    hash: bytes
    continues: bool


async def moment(pool: Pool, known: LogEnd = BEGINNING) -> Moment:
    """Ask PostgreSQL for it."""
    return Moment(*await pool.fetchrow(MOMENT, known.position, known.hash))


async def archived(pool: Pool, position: int) -> ArchivedError:
    """Name the archive that holds what comes after a position before the edge."""
    async with pool.acquire() as connection:
        months = await edge.read(connection)
    return ArchivedError(f"position {position}", months.holding(position + 1) or months.archives[-1])


class Tail:
    """Models in step, on their way along the log.

    ``position`` is that of the last event that was read, ``redacted`` that of the redaction which all of it is after.
    """

    def __init__(self, folded: InStep, position: int, redacted: int, end: LogEnd) -> None:
        self.folded = folded
        self.position = position
        self.redacted = redacted
        self._end = end
        self._names = folded.names

    @classmethod
    async def open(cls, pool: Pool, as_of: AsOf, position: int) -> "Tail":
        """Begin after a position. Raises RedactedError while a redaction goes on, ArchivedError before the edge.

        Also UnkeptError and TooFarError, where there is no state to begin with, and BrokenModelError.
        """
        now = await moment(pool)  # before anything is folded: what is redacted later is noticed by `read`
        if now.stale:
            raise RedactedError("a redaction is under way")
        if position < now.edge:
            raise await archived(pool, position)
        models = [table.model for table in as_of.tables.values()]
        instant = Instant(position, datetime.now(UTC), 1, ((0, position),))
        async with pool.acquire() as connection:
            held = await as_of.held(connection, [model.name for model in models], instant, FARTHEST)
        return cls(
            InStep(models, {n: (one.state, one.rows) for n, one in held.items()}),
            position,
            now.redacted,
            LogEnd(now.head, now.hash),
        )

    async def check(self, pool: Pool) -> None:
        """Raise RewoundError, RedactedError or ArchivedError if what was folded is not in the log any more."""
        now = await moment(pool, self._end)
        if not now.continues:
            raise RewoundError(f"the log had position {self._end.position} and ends at {now.head} now")
        if now.redacted > self.redacted:
            raise RedactedError("the log was redacted")
        if now.edge > self.position:
            raise await archived(pool, self.position)
        self._end = LogEnd(now.head, now.hash)

    async def read(self, pool: Pool, upto: int) -> AsyncIterator[tuple[Recorded, list[Change]]]:
        """Fold the events up to a position or the end of the log, and yield those that changed something.

        While one is looked at, `folded` has the rows as it left them. What is raised of `AGAIN` leaves it at a position
        from which it may go on; RewoundError, RedactedError, ArchivedError and FoldError end it.
        """
        if upto > self._end.position:
            # The log may be shorter than its reader believes. Rows past a known end could come after they were read.
            await self.check(pool)
        upto = min(upto, self._end.position)
        while self.position < upto:
            end = min(self.position + WINDOW, upto)
            rows = await pool.fetch(READ, self.position, end, self._names, None)
            # Afterwards: what had been changed or taken away when these were read is known now.
            await self.check(pool)
            for start in range(0, len(rows), SLICE):
                for row in rows[start : start + SLICE]:
                    event = recorded(row)
                    changes = self.folded.take(event)
                    self.position = event.position
                    if changes:
                        yield event, changes
                await asyncio.sleep(0)
            self.position = max(self.position, end)
