"""Events of the log by what they are and what they hold, found in bounded steps.

No index knows what stands inside an event: one over every channel name and unique id would cost the listener more than
appending does. So what names, PBX and times leave is read, at most `SCAN` positions for one request, and the
answer says where it stopped. Times become positions first: ``appended`` never falls as positions rise, and what
waited in a spool before it was appended is known by an index of its own (``ledger.batch_late``).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime

import asyncpg
from msgspec import Struct

from api.ledger.value_match import ValueMatch, matches
from services.database.pool import Pool
from services.log import archives as edge
from services.runtime.masking import masked

MAX_SCANNED = 1_000_000
MAX_STEP = 100_000
ROWS = 500
"""What one step reads, and what it returns, at most: steps grow from `ROWS` positions while they find little.

A partition that was not analyzed yet (as none is before its first million events) makes PostgreSQL read and sort all
that a step spans, so one that finds much should not span much.
"""

# A listener's clock may be five minutes ahead of PostgreSQL's, and what is ten seconds behind is late.
BOUNDS = """
SELECT position AS head,
       CASE WHEN $1::timestamptz IS NULL THEN 0
            ELSE coalesce((SELECT first FROM ledger.batch WHERE appended >= $1 - interval '5 minutes'
                           ORDER BY appended, first LIMIT 1) - 1, position) END AS after,
       CASE WHEN $2::timestamptz IS NULL THEN position
            ELSE coalesce((SELECT last FROM ledger.batch WHERE appended < $2 + interval '10 seconds'
                           ORDER BY appended DESC, first DESC LIMIT 1), 0) END AS upto
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
# Where JSON has a backslash, or a line a quote in quotes, what is looked for may be written in another way.
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
    """What is asked for; None asks for all.

    ``after`` and ``before`` bound the position, both exclusive; ``since`` (inclusive) and ``until`` (exclusive) bound
    the time of recording. ``held`` are sets of values, of each of which an event must hold one.
    """

    pbx: str | None = None
    source: str | None = None
    names: list[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int = 0
    before: int | None = None
    held: tuple[ValueMatch, ...] = ()
    descending: bool = False


class Search:
    """One request's way through the log: `pages` gives what it finds; the rest says how far it has come.

    ``scanned`` counts the positions looked at, up to and with ``scanned_to``. ``next`` is the cursor from which another
    request goes on; None when all has been looked at. ``head`` was the log's end when the search began; it begins after
    ``archived``. Each step is made in a ``turn``.
    """

    def __init__(
        self, pool: Pool, wanted: SearchFilter, turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    ) -> None:
        self.head = self.archived = 0
        self.scanned = 0
        self.scanned_to: int | None = None
        self._pool = pool
        self._wanted = wanted
        self._turn = turn
        self._left: list[Range] = []
        self._size = ROWS

    @property
    def next(self) -> int | None:
        """Where to go on."""
        return self.scanned_to if self._left else None

    async def pages(self, limit: int | None) -> AsyncIterator[list[asyncpg.Record]]:
        """Yield what is found, at most ``limit`` in all. A connection is held for one step only."""
        await self._begin()
        wanted = self._wanted
        sql = BACKWARD if wanted.descending else FORWARD
        # PostgreSQL looks for the first of the values, which is enough to leave few for all of them.
        patterns = wanted.held[0].patterns() if wanted.held else (None, None, None)
        arguments = (wanted.pbx, wanted.source, wanted.names, wanted.since, wanted.until, *patterns)
        found = 0
        while self._left and self.scanned < MAX_SCANNED and (limit is None or found < limit):
            after, upto = self._step()
            wants = ROWS if limit is None else limit - found
            # Of what LIKE finds much may not be meant.
            rows = ROWS if wanted.held else min(ROWS, wants)
            async with self._turn():
                got = await self._pool.fetch(sql, after, upto, rows, *arguments)
            page = [row for row in got if all(matches(row["source"], _shown(row), one) for one in wanted.held)]
            if len(page) > wants:
                page = page[:wants]
                self._reached(page[-1]["position"])
            elif len(got) == rows:
                self._reached(got[-1]["position"])
            else:
                self._reached(after + 1 if wanted.descending else upto)
            self._size = min(MAX_STEP, self._size * 4) if len(got) * 2 < rows else ROWS
            found += len(page)
            if page:
                yield page
            await asyncio.sleep(0)

    async def _begin(self) -> None:
        wanted = self._wanted
        async with self._pool.acquire() as connection:
            self.head, after, upto = await connection.fetchrow(BOUNDS, wanted.since, wanted.until)
            self.archived = await edge.last(connection)
            late = []
            if wanted.until is not None:
                late = await connection.fetch(LATE, wanted.until, upto, wanted.pbx)
        last = self.head if wanted.before is None else min(self.head, wanted.before - 1)
        clipped = ((max(a, wanted.after, self.archived), min(u, last)) for a, u in [(after, upto), *late])
        self._left = joined((a, u) for a, u in clipped if a < u)
        if wanted.descending:
            self._left.reverse()
        elif not self._left:
            self.scanned_to = wanted.after

    def _step(self) -> Range:
        after, upto = self._left[0]
        size = min(self._size, MAX_SCANNED - self.scanned)
        return (max(after, upto - size), upto) if self._wanted.descending else (after, min(upto, after + size))

    def _reached(self, position: int) -> None:
        after, upto = self._left[0]
        if self._wanted.descending:
            self.scanned += upto - position + 1
            rest = (after, position - 1)
        else:
            self.scanned += position - after
            rest = (position, upto)
        self.scanned_to = position
        self._left[:1] = [rest] if rest[0] < rest[1] else []


def _shown(row: asyncpg.Record) -> bytes:
    # A search that found what is masked would confirm a guess of it.
    return masked(row["source"], row["raw"])


def joined(ranges: Iterable[Sequence[int]]) -> list[Range]:
    """Make one of ranges that touch; they come in order."""
    whole: list[Range] = []
    for after, upto in ranges:
        if whole and after <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(upto, whole[-1][1]))
        else:
            whole.append((after, upto))
    return whole
