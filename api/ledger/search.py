"""A search of the log by names, times and values, in bounded steps.

The values inside events are not indexed: an index of every channel name and unique id would cost the listener more than
appending does. So a request reads the events that PBX, names and times leave, at most `MAX_SCANNED` positions, and the
response has the last one. Times become positions first: ``appended`` never falls as positions rise. Events that waited
in a spool have an index of their own (``ledger.batch_late``).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime

import asyncpg
from msgspec import Struct

from api.ledger.value_match import ValueMatch, matches
from services.database.pool import Pool
from services.log.archives import last_archived
from services.runtime.masking import mask_event

MAX_SCANNED = 1_000_000
MAX_STEP = 100_000
MIN_STEP = 500
"""The most positions that a step reads, and the most rows that it returns. Steps grow while few rows match.

In a partition that was not analyzed yet (as none is before its first million events) PostgreSQL reads and sorts the
whole span of a step. So a step with many matches must be short.
"""

# A listener's clock may be five minutes ahead of PostgreSQL's. An event that is ten seconds behind counts as late.
BOUNDS = """
SELECT position AS head,
       CASE WHEN $1::timestamptz IS NULL THEN 0
            ELSE coalesce((SELECT first FROM ledger.batch WHERE appended >= $1 - interval '5 minutes'
                           ORDER BY appended, first LIMIT 1) - 1, position) END AS after,
       CASE WHEN $2::timestamptz IS NULL THEN position
            ELSE coalesce((SELECT last FROM ledger.batch WHERE appended < $2 + interval '10 seconds'
                           ORDER BY appended DESC, first DESC LIMIT 1), 0) END AS until
FROM ledger.head
"""
LATE = """
SELECT first - 1, last FROM ledger.batch
WHERE appended - earliest > interval '10 seconds' AND earliest < $1 AND first > $2 AND ($3::text IS NULL OR pbx = $3)
ORDER BY first
"""

COLUMNS = """
SELECT e.position, e.pbx, e.connection, e.ordinal, e.source, e.name, e.occurred, e.recorded, e.raw,
       (SELECT b.appended FROM ledger.batch b WHERE b.month = e.month AND b.first <= e.position
        ORDER BY b.first DESC LIMIT 1) AS appended
FROM ledger.event e
"""
# A backslash in JSON, or a quote in a quoted field, may escape the value.
MATCHING = (
    COLUMNS
    + r"""
WHERE position > $1 AND position <= $2
  AND ($4::text IS NULL OR pbx = $4) AND ($5::text IS NULL OR source = $5)
  AND ($6::text[] IS NULL OR name = ANY($6))
  AND ($7::timestamptz IS NULL OR recorded >= $7) AND ($8::timestamptz IS NULL OR recorded < $8)
  AND ($9::bytea[] IS NULL OR CASE
           WHEN source = 'ami' THEN raw LIKE ANY ($9)
           WHEN source IN ('ari', 'ringledger') THEN raw LIKE ANY ($10::bytea[]) OR raw LIKE '\x255c5c25'
           ELSE raw LIKE ANY ($11::bytea[]) OR raw LIKE '%""%' END)
"""
)
FORWARD = MATCHING + "ORDER BY position LIMIT $3"
BACKWARD = MATCHING + "ORDER BY position DESC LIMIT $3"

Range = tuple[int, int]
"""Positions after the first and up to the second."""


class SearchFilter(Struct, frozen=True):
    """The filter of a search; None selects all.

    ``after`` and ``before`` bound the position, both exclusive; ``since`` (inclusive) and ``until`` (exclusive) bound
    the time of recording. An event must match each of ``values``.
    """

    pbx: str | None = None
    source: str | None = None
    names: list[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int = 0
    before: int | None = None
    values: tuple[ValueMatch, ...] = ()
    descending: bool = False


class Search:
    """The search of one request.

    ``scanned`` counts the positions read, up to and with ``scanned_to``. ``next`` is the cursor for the next request,
    None after the whole log. ``head`` was the end of the log when the search began. The search begins after
    ``archived``. Each step runs in a ``turn``.
    """

    def __init__(
        self, pool: Pool, criteria: SearchFilter, turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    ) -> None:
        self.head = self.archived = 0
        self.scanned = 0
        self.scanned_to: int | None = None
        self._pool = pool
        self._criteria = criteria
        self._turn = turn
        self._left: list[Range] = []
        self._size = MIN_STEP

    @property
    def next(self) -> int | None:
        """The cursor for the next request."""
        return self.scanned_to if self._left else None

    async def pages(self, limit: int | None) -> AsyncIterator[list[asyncpg.Record]]:
        """Yield the matching events, at most ``limit`` in all. A step holds a connection no longer than it runs."""
        await self._begin()
        criteria = self._criteria
        sql = BACKWARD if criteria.descending else FORWARD
        # PostgreSQL matches the first of the values, which leaves few rows for the others.
        patterns = criteria.values[0].patterns() if criteria.values else (None, None, None)
        arguments = (criteria.pbx, criteria.source, criteria.names, criteria.since, criteria.until, *patterns)
        returned = 0
        while self._left and self.scanned < MAX_SCANNED and (limit is None or returned < limit):
            after, until = self._step()
            room = MIN_STEP if limit is None else limit - returned
            # LIKE matches more than the values.
            rows = MIN_STEP if criteria.values else min(MIN_STEP, room)
            async with self._turn():
                got = await self._pool.fetch(sql, after, until, rows, *arguments)
            page = [row for row in got if all(matches(row["source"], _masked(row), one) for one in criteria.values)]
            if len(page) > room:
                page = page[:room]
                self._advance_to(page[-1]["position"])
            elif len(got) == rows:
                self._advance_to(got[-1]["position"])
            else:
                self._advance_to(after + 1 if criteria.descending else until)
            self._size = min(MAX_STEP, self._size * 4) if len(got) * 2 < rows else MIN_STEP
            returned += len(page)
            if page:
                yield page
            await asyncio.sleep(0)

    async def _begin(self) -> None:
        criteria = self._criteria
        async with self._pool.acquire() as connection:
            self.head, after, until = await connection.fetchrow(BOUNDS, criteria.since, criteria.until)
            self.archived = await last_archived(connection)
            late = []
            if criteria.until is not None:
                late = await connection.fetch(LATE, criteria.until, until, criteria.pbx)
        last = self.head if criteria.before is None else min(self.head, criteria.before - 1)
        clipped = ((max(a, criteria.after, self.archived), min(u, last)) for a, u in [(after, until), *late])
        self._left = joined((a, u) for a, u in clipped if a < u)
        if criteria.descending:
            self._left.reverse()
        elif not self._left:
            self.scanned_to = criteria.after

    def _step(self) -> Range:
        after, until = self._left[0]
        size = min(self._size, MAX_SCANNED - self.scanned)
        return (max(after, until - size), until) if self._criteria.descending else (after, min(until, after + size))

    def _advance_to(self, position: int) -> None:
        after, until = self._left[0]
        if self._criteria.descending:
            self.scanned += until - position + 1
            rest = (after, position - 1)
        else:
            self.scanned += position - after
            rest = (position, until)
        self.scanned_to = position
        self._left[:1] = [rest] if rest[0] < rest[1] else []


def _masked(row: asyncpg.Record) -> bytes:
    # A match on a masked value would confirm a guess of it.
    return mask_event(row["source"], row["raw"])


def joined(ranges: Iterable[Sequence[int]]) -> list[Range]:
    """Merge ranges that touch; they are in order."""
    whole: list[Range] = []
    for after, until in ranges:
        if whole and after <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(until, whole[-1][1]))
        else:
            whole.append((after, until))
    return whole
