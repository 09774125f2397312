"""Walks along the hash chain of the log, recomputes it, and reports the first difference."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import asyncpg
from msgspec import Struct

from services.database.errors import NO_LEDGER, NoLedgerError
from services.integrity import counters
from services.integrity.compare import Comparer, EventKind, RedactedLeaves, WindowSummary, leaf_matches, open_comparer
from services.integrity.damage import BatchBoundary, DamageError
from services.integrity.diagnosis import diagnose, diagnose_end
from services.log.archives import ArchiveCatalog
from services.log.batches import LogSlice, connect_microseconds, month_of, read_batches, read_rows
from services.log.chain import LEAF_BYTES, SALT_BYTES, ZERO_LINK, SealedBatch
from services.log.redactions import TokenSummary
from services.runtime.progress import ProgressBar

OUTSIDE = """
SELECT (SELECT min(position) FROM ledger.event WHERE position <= $1) AS event_before,
       (SELECT min(position) FROM ledger.event WHERE position > $2) AS event_beyond,
       (SELECT min(first) FROM ledger.batch WHERE first <= $1) AS batch_before,
       (SELECT min(first) FROM ledger.batch WHERE first > $2) AS batch_beyond
"""

LOG_START = BatchBoundary(0, ZERO_LINK)


class Verification(Struct):
    """The intact part of the log: its end, events, batches and bytes, and the hashes at the marked positions.

    `services.integrity.verify` sets ``redactions``, ``archives``, and the months whose files were ``checked``.
    """

    end: BatchBoundary
    events: int = 0
    batches: int = 0
    size: int = 0
    hashes: dict[int, bytes] = {}
    redactions: list[TokenSummary] = []
    archives: ArchiveCatalog = ArchiveCatalog()
    checked: set[str] = set()

    def covers(self, position: int) -> bool:
        """Return whether the event at a position was checked."""
        archive = self.archives.archive_of(position)
        return archive is None or archive.month in self.checked


async def walk_chain(
    url: str,
    marks: Iterable[int] = (),
    start: BatchBoundary = LOG_START,
    redacted: RedactedLeaves | None = None,
    archived_counts: Mapping[EventKind, int] | None = None,
) -> Verification:
    """Verify all events after ``start`` that are in the log now; a listener may append meanwhile.

    ``marks`` are positions whose hash the result contains if a batch ends there. ``archived_counts`` has the number of
    events of each kind until ``start``, if known. Raises DamageError and NoLedgerError.
    """
    connection = await connect_microseconds(url, "ringledger verify")
    try:
        with ProgressBar("verifying") as progress:
            walk = _ChainWalk(connection, start, frozenset(marks), redacted or {})
            return await walk.run(url, {} if start == LOG_START else archived_counts, progress.show)
    except NO_LEDGER:
        raise NoLedgerError from None
    finally:
        await connection.close()


def _end_of_links(stretch: LogSlice, boundary: BatchBoundary) -> BatchBoundary | None:
    """Return the boundary after the stretch, or None if its batches do not follow ``boundary`` and each other."""
    for batch, month in zip(stretch.batches, stretch.months, strict=True):
        size = len(batch.leaves) // LEAF_BYTES
        if (batch.first, batch.last) != (boundary.position + 1, boundary.position + size) or not size:
            return None
        if (
            len(batch.salts) != size * SALT_BYTES
            or batch.hash != batch.link(boundary.hash)
            or month != month_of(batch.appended)
        ):
            return None
        boundary = BatchBoundary(batch.last, batch.hash)
    return boundary


class _ChainWalk:
    def __init__(
        self, connection: asyncpg.Connection, start: BatchBoundary, marks: frozenset[int], redacted: RedactedLeaves
    ) -> None:
        self._connection = connection
        self._start = start
        self._marks = marks
        self._redacted = redacted
        self._last: SealedBatch | None = None
        self._ordinals: dict[tuple[str, int], int] = {}
        self._counts: Counter[EventKind] = Counter()
        self._lasts: dict[EventKind, int] = {}
        self._result = Verification(start, hashes={start.position: start.hash})

    async def run(
        self, url: str, archived_counts: Mapping[EventKind, int] | None, on_progress: Callable[[int, int], None]
    ) -> Verification:
        connection, start = self._connection, self._start
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            heads = await connection.fetch(counters.HEAD)
            if len(heads) != 1:
                raise DamageError("altered", "head", 0, f"there are {len(heads)} rows")
            head = BatchBoundary(heads[0]["position"], heads[0]["hash"])
            outside = await connection.fetchrow(OUTSIDE, start.position, head.position)
            names = await connection.fetch(counters.NAMES)
            connections = await connection.fetch(counters.CONNECTIONS)
        for what in ("event", "batch"):
            if (position := outside[f"{what}_before"]) is not None:
                raise DamageError("inserted", what, position, "it is before the start of the log")
        async with open_comparer(url, connection, self._redacted, head.position - start.position) as (compare, ahead):
            await self._walk(head, compare, ahead, on_progress)
        counters.check_head(heads[0], self._result.end, self._last)
        for what in ("event", "batch"):
            if (position := outside[f"{what}_beyond"]) is not None:
                raise DamageError("inserted", what, position, f"it is after the head, {head.position}")
        if archived_counts is not None:
            counters.check_names(names, self._counts, self._lasts, archived_counts, start.position)
        counters.check_connections(connections, self._ordinals, is_whole_log=start == LOG_START)
        return self._result

    async def _walk(
        self, head: BatchBoundary, compare: Comparer, ahead: int, on_progress: Callable[[int, int], None]
    ) -> None:
        """Follow the links window by window, while the events of earlier windows are compared."""
        connection, boundary, until = self._connection, self._start, self._start.position
        pending: deque[tuple[LogSlice, Awaitable[WindowSummary | None] | None]] = deque()
        is_intact = True
        while True:
            # Reading stops at a broken link or a hole; damage in the windows before it is reported first.
            while is_intact and until < head.position and len(pending) <= ahead:
                stretch = await read_batches(connection, until, head.position)
                end = _end_of_links(stretch, boundary)
                if end is None:
                    pending.append((stretch, None))
                elif stretch.batches:
                    pending.append((stretch, compare(stretch.batches, stretch.months)))
                boundary, until = end or boundary, stretch.until
                is_intact = end is not None and boundary.position >= until
            if not pending:
                break
            stretch, comparison = pending.popleft()
            summary = await comparison if comparison is not None else None
            if summary is None:
                stretch.rows = await read_rows(connection, stretch.batches)
                matcher = partial(leaf_matches, self._redacted)
                raise await diagnose(connection, stretch, self._result.end, head, matcher)
            self._add(stretch, summary)
            on_progress(self._result.end.position, head.position)
        if self._result.end.position < head.position:
            raise await diagnose_end(connection, self._result.end, head)

    def _add(self, stretch: LogSlice, summary: WindowSummary) -> None:
        for batch in stretch.batches:
            self._check_order(batch)
        self._counts.update(summary.counts)
        self._lasts |= summary.lasts
        self._result.events += summary.counts.total()
        self._result.size += summary.size
        self._result.end = BatchBoundary(stretch.batches[-1].last, stretch.batches[-1].hash)

    def _check_order(self, batch: SealedBatch) -> None:
        """Check ordinals and times, which may be wrong although the whole chain was recomputed."""
        writer = batch.pbx, batch.connection
        previous = self._ordinals.get(writer, batch.ordinal - 1)
        if batch.ordinal != previous + 1:
            reason = f"ordinal {batch.ordinal} of {batch.pbx}/{batch.connection} follows {previous}"
            raise DamageError("missing" if batch.ordinal > previous else "reordered", "event", batch.first, reason)
        if self._last is not None and batch.appended < self._last.appended:
            raise DamageError("reordered", "batch", batch.first, "it was appended before the previous one", batch.last)
        self._ordinals[writer] = batch.ordinal + batch.last - batch.first
        self._last = batch
        self._result.batches += 1
        if batch.last in self._marks:
            self._result.hashes[batch.last] = batch.hash
