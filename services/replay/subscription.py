"""A catch-up subscription: follows the log from any position and yields the row changes that each event caused.

The served tables cannot show these changes: there a batch of many events is one change.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

from msgspec import Struct

from projections.engine.step import Change, StepFold
from schemas.log import RecordedEvent
from services.database.errors import DATABASE_ERRORS
from services.database.pool import Pool
from services.log.archives import ArchivedError, read_catalog
from services.log.continuity import EMPTY_LOG, LogEnd, RewoundError
from services.log.read import recorded_event
from services.projector.ended_rows import is_served, load_ended
from services.projector.table import Table
from services.replay.as_of import READ, SLICE_EVENTS, WINDOW_POSITIONS, AsOfReader
from services.replay.instants import Instant

MAX_START_EVENTS = 2_000_000
"""The most events that are folded to reach the start of a subscription; saved states are nearer than that."""

RETRYABLE_ERRORS = DATABASE_ERRORS
"""Errors after which `Subscription.read` can be called again: no PostgreSQL error is due to one event."""

# One statement, so that all values are of one moment.
LOG_STATE = """
SELECT (SELECT position FROM ledger.head), (SELECT coalesce(max(last), 0) FROM ledger.archive),
       (SELECT coalesce(max(last), 0) FROM ledger.name WHERE source = 'ringledger' AND name = 'Redacted'),
       EXISTS (SELECT FROM ledger.stale), (SELECT hash FROM ledger.head), ledger.continues($1, $2)
"""


class RedactedError(Exception):
    """The log was redacted after its events were folded; nothing that was folded may be returned any more."""


class LogState(Struct, frozen=True):
    """The log at one moment: its last position, the last archived position, and that of the last redaction.

    ``stale`` is True during a redaction. ``continues``: the log still contains the end that was passed.
    """

    head: int
    archived_until: int
    redacted: int
    stale: bool
    hash: bytes
    continues: bool


async def read_log_state(pool: Pool, end: LogEnd = EMPTY_LOG) -> LogState:
    """Return the state of the log; ``end`` is an earlier end of it, to test whether the log continues it."""
    return LogState(*await pool.fetchrow(LOG_STATE, end.position, end.hash))


async def archived_error(pool: Pool, position: int) -> ArchivedError:
    """Return the error that names the archive with the events after ``position``."""
    async with pool.acquire() as connection:
        archives = await read_catalog(connection)
    return ArchivedError(f"position {position}", archives.archive_of(position + 1) or archives.archives[-1])


class Subscription:
    """Models folded step by step along the log.

    ``position`` is that of the last event read; ``redacted`` that of the last redaction before the fold began.
    """

    def __init__(
        self, fold: StepFold, position: int, redacted: int, end: LogEnd, tables: Mapping[str, Table] | None = None
    ) -> None:
        self.fold = fold
        self._tables = tables or {}
        self.position = position
        self.redacted = redacted
        self._end = end
        self._names = fold.names

    @classmethod
    async def open(cls, pool: Pool, as_of: AsOfReader, position: int) -> "Subscription":
        """Start after a position.

        Raises RedactedError during a redaction, ArchivedError before the start of the log, NoInitialStateError and
        TooFarError without a state to start from, and BrokenModelError.
        """
        now = await read_log_state(pool)  # Before the fold: `read` detects later redactions.
        if now.stale:
            raise RedactedError("a redaction is running")
        if position < now.archived_until:
            raise await archived_error(pool, position)
        models = [table.model for table in as_of.tables.values()]
        instant = Instant(position, datetime.now(UTC), 1, ((0, position),))
        async with pool.acquire() as connection:
            names = [model.name for model in models]
            initial = await as_of.read(connection, names, instant, MAX_START_EVENTS, lacks_ended=True)
        states = {name: (model.state, model.rows) for name, model in initial.items()}
        fold = StepFold(models, states, lacks_ended=True)
        return cls(fold, position, now.redacted, LogEnd(now.head, now.hash), as_of.tables)

    async def check(self, pool: Pool) -> None:
        """Raise RewoundError, RedactedError or ArchivedError if the log no longer holds the events that were folded."""
        now = await read_log_state(pool, self._end)
        if not now.continues:
            raise RewoundError(f"the log had position {self._end.position}, and now ends at {now.head}")
        if now.redacted > self.redacted:
            raise RedactedError("the log was redacted")
        if now.archived_until > self.position:
            raise await archived_error(pool, self.position)
        self._end = LogEnd(now.head, now.hash)

    async def read(self, pool: Pool, until: int) -> AsyncIterator[tuple[RecordedEvent, list[Change]]]:
        """Fold the events up to position ``until`` or the end of the log, and yield those that changed a row.

        During a yield `fold` holds the rows as that event left them. After one of RETRYABLE_ERRORS the subscription can
        continue from its position; RewoundError, RedactedError, ArchivedError and FoldError end it.
        """
        if until > self._end.position:
            # A log that came back shorter may end before ``until``. A row beyond the end could be added after the read.
            await self.check(pool)
        until = min(until, self._end.position)
        while self.position < until:
            end = min(self.position + WINDOW_POSITIONS, until)
            rows = await pool.fetch(READ, self.position, end, self._names, None)
            # After the read: the check then covers every change of the log before these rows were read.
            await self.check(pool)
            for start in range(0, len(rows), SLICE_EVENTS):
                events = [recorded_event(row) for row in rows[start : start + SLICE_EVENTS]]
                await self._load_ended(pool, events)
                for event in events:
                    changes = self.fold.apply(event)
                    self.position = event.position
                    if changes:
                        yield event, changes
                await asyncio.sleep(0)
            self.position = max(self.position, end)

    async def _load_ended(self, pool: Pool, events: list[RecordedEvent]) -> None:
        lacking = self.fold.lacking(events)
        for fold in lacking:
            table = self._tables[fold.model.name]
            if await is_served(pool.fetch, table):
                await load_ended(pool.fetch, table, fold, events[0].position)
            fold.ids.clear()
        if lacking:
            # These rows may be of after a redaction of the log, and from before it reached the table.
            await self.check(pool)
