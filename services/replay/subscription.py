"""Follows the log from any position on: models folded in step from saved states, and what each event changed.

The tables that are served cannot tell that: a batch of many events is one change to them.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from msgspec import Struct

from projections.engine.step import Change, StepFold
from schemas.log import RecordedEvent
from services.database.errors import DATABASE_ERRORS
from services.database.pool import Pool
from services.log.archives import ArchivedError, read_catalog
from services.log.continuity import EMPTY_LOG, LogEnd, RewoundError
from services.log.read import recorded_event
from services.replay.as_of import READ, SLICE, WINDOW, AsOfReader
from services.replay.instants import Instant

MAX_START_EVENTS = 2_000_000
"""Events that may be folded to come to where a tail begins; saved states stand nearer than that."""

RETRYABLE_ERRORS = DATABASE_ERRORS
"""What may be tried again, and then goes on where it was: nothing that PostgreSQL says is about one event."""

# One statement, so that all of it is of one moment.
MOMENT = """
SELECT (SELECT position FROM ledger.head), (SELECT coalesce(max(last), 0) FROM ledger.archive),
       (SELECT coalesce(max(last), 0) FROM ledger.name WHERE source = 'ringledger' AND name = 'Redacted'),
       EXISTS (SELECT FROM ledger.stale), (SELECT hash FROM ledger.head), ledger.continues($1, $2)
"""


class RedactedError(Exception):
    """The log holds other bytes than those that were folded: nothing of what was folded may be told any more."""


class LogState(Struct, frozen=True):
    """Where the log ends (``head``), begins after (``edge``), and was redacted last; ``stale`` while that goes on.

    ``continues``: the log still has the end that was asked about.
    """

    head: int
    archived_until: int
    redacted: int
    stale: bool
    hash: bytes
    continues: bool


async def read_log_state(pool: Pool, known: LogEnd = EMPTY_LOG) -> LogState:
    """Ask PostgreSQL for it."""
    return LogState(*await pool.fetchrow(MOMENT, known.position, known.hash))


async def archived_error(pool: Pool, position: int) -> ArchivedError:
    """Name the archive that holds what comes after a position before the edge."""
    async with pool.acquire() as connection:
        months = await read_catalog(connection)
    return ArchivedError(f"position {position}", months.archive_of(position + 1) or months.archives[-1])


class Subscription:
    """Models in step, on their way along the log.

    ``position`` is that of the last event that was read, ``redacted`` that of the redaction which all of it is after.
    """

    def __init__(self, fold: StepFold, position: int, redacted: int, end: LogEnd) -> None:
        self.fold = fold
        self.position = position
        self.redacted = redacted
        self._end = end
        self._names = fold.names

    @classmethod
    async def open(cls, pool: Pool, as_of: AsOfReader, position: int) -> "Subscription":
        """Begin after a position. Raises RedactedError while a redaction goes on, ArchivedError before the edge.

        Also NoInitialStateError and TooFarError, where there is no state to begin with, and BrokenModelError.
        """
        now = await read_log_state(pool)  # before anything is folded: what is redacted later is noticed by `read`
        if now.stale:
            raise RedactedError("a redaction is under way")
        if position < now.archived_until:
            raise await archived_error(pool, position)
        models = [table.model for table in as_of.tables.values()]
        instant = Instant(position, datetime.now(UTC), 1, ((0, position),))
        async with pool.acquire() as connection:
            held = await as_of.read(connection, [model.name for model in models], instant, MAX_START_EVENTS)
        return cls(
            StepFold(models, {n: (one.state, one.rows) for n, one in held.items()}),
            position,
            now.redacted,
            LogEnd(now.head, now.hash),
        )

    async def check(self, pool: Pool) -> None:
        """Raise RewoundError, RedactedError or ArchivedError if what was folded is not in the log any more."""
        now = await read_log_state(pool, self._end)
        if not now.continues:
            raise RewoundError(f"the log had position {self._end.position} and ends at {now.head} now")
        if now.redacted > self.redacted:
            raise RedactedError("the log was redacted")
        if now.archived_until > self.position:
            raise await archived_error(pool, self.position)
        self._end = LogEnd(now.head, now.hash)

    async def read(self, pool: Pool, upto: int) -> AsyncIterator[tuple[RecordedEvent, list[Change]]]:
        """Fold the events up to a position that is in the log, and yield those that changed something.

        During a yield `fold` holds the rows as that event left them. After one of RETRYABLE_ERRORS the subscription can
        continue from its position; RewoundError, RedactedError, ArchivedError and FoldError end it.
        """
        while self.position < upto:
            end = min(self.position + WINDOW, upto)
            rows = await pool.fetch(READ, self.position, end, self._names, None)
            # Afterwards: what had been changed or taken away when these were read is known now.
            await self.check(pool)
            end = min(end, self._end.position)
            for start in range(0, len(rows), SLICE):
                for row in rows[start : start + SLICE]:
                    event = recorded_event(row)
                    changes = self.fold.take(event)
                    self.position = event.position
                    if changes:
                        yield event, changes
                await asyncio.sleep(0)
            self.position = max(self.position, end)
            if end == self._end.position:
                break
