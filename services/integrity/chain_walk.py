"""``ringledger verify``: computes the chain over the log anew, and names the first thing that does not fit."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import asyncpg
from msgspec import Struct

from services.database.errors import NO_LEDGER, NO_LEDGER_MESSAGE
from services.integrity.compare import Compare, Compared, Kind, Redacted, comparing, same
from services.integrity.damage import DamageError, Place, damage_behind, damage_of
from services.log.archives import ArchiveCatalog
from services.log.batches import LogSlice, connect_microseconds, month_of, read_batches, read_rows
from services.log.chain import LEAF, SALT, ZERO_LINK, Batch
from services.log.redactions import TokenSummary
from services.runtime.progress import Bar

HEAD = """
SELECT position, hash, appended, month, to_regclass('ledger.event_' || to_char(month, 'YYYY_MM')) IS NOT NULL AS open
FROM ledger.head
"""
NAMES = "SELECT pbx, source, name, count, last FROM ledger.name"
CONNECTIONS = "SELECT pbx, connection, last_ordinal FROM ledger.connection"
OUTSIDE = """
SELECT (SELECT min(position) FROM ledger.event WHERE position <= $1) AS event_before,
       (SELECT min(position) FROM ledger.event WHERE position > $2) AS event_beyond,
       (SELECT min(first) FROM ledger.batch WHERE first <= $1) AS batch_before,
       (SELECT min(first) FROM ledger.batch WHERE first > $2) AS batch_beyond
"""

START = Place(0, ZERO_LINK)


class NoLedgerError(Exception):
    """The database holds no ledger of this version; the message says what to do."""

    def __init__(self) -> None:
        super().__init__(NO_LEDGER_MESSAGE)


class Verified(Struct):
    """What was found good, where it ends, the bytes of its events, and the hashes at the positions asked for.

    ``redactions``, and what was archived with the months whose files were checked too, are set by
    `services.integrity.verify`.
    """

    end: Place
    events: int = 0
    batches: int = 0
    size: int = 0
    hashes: dict[int, bytes] = {}
    redactions: list[TokenSummary] = []
    edge: ArchiveCatalog = ArchiveCatalog()
    checked: set[str] = set()

    def reaches(self, position: int) -> bool:
        """Tell whether what stands at a position was looked at."""
        archive = self.edge.archive_of(position)
        return archive is None or archive.month in self.checked


async def verify(
    url: str,
    marks: Iterable[int] = (),
    start: Place = START,
    redacted: Redacted | None = None,
    before: Mapping[Kind, int] | None = None,
) -> Verified:
    """Verify all that follows ``start`` and is in the log now; a listener may go on. Raises DamageError.

    ``marks`` are positions whose hash is wanted, where a batch ends there; ``before`` says how often each event came up
    to ``start``, where that is known. Raises NoLedgerError.
    """
    connection = await connect_microseconds(url, "ringledger verify")
    try:
        with Bar("verifying") as progress:
            verifier = _Verifier(connection, start, frozenset(marks), redacted or {})
            return await verifier.run(url, {} if start == START else before, progress.show)
    except NO_LEDGER:
        raise NoLedgerError from None
    finally:
        await connection.close()


def _linked(stretch: LogSlice, place: Place) -> Place | None:
    """Return the place behind a stretch whose batches follow on each other and on ``place``, None if one does not."""
    for batch, month in zip(stretch.batches, stretch.months, strict=True):
        size = len(batch.leaves) // LEAF
        if (batch.first, batch.last) != (place.position + 1, place.position + size) or not size:
            return None
        if len(batch.salts) != size * SALT or batch.hash != batch.link(place.hash) or month != month_of(batch.appended):
            return None
        place = Place(batch.last, batch.hash)
    return place


class _Verifier:
    def __init__(self, connection: asyncpg.Connection, start: Place, marks: frozenset[int], redacted: Redacted) -> None:
        self._connection = connection
        self._start = start
        self._marks = marks
        self._redacted = redacted
        self._last: Batch | None = None
        self._ordinals: dict[tuple[str, int], int] = {}
        self._counts: Counter[Kind] = Counter()
        self._lasts: dict[Kind, int] = {}
        self._verified = Verified(start, hashes={start.position: start.hash})

    async def run(self, url: str, before: Mapping[Kind, int] | None, show: Callable[[int, int], None]) -> Verified:
        connection, start = self._connection, self._start
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            heads = await connection.fetch(HEAD)
            if len(heads) != 1:
                raise DamageError("altered", "head", 0, f"there are {len(heads)} of them")
            head = Place(heads[0]["position"], heads[0]["hash"])
            outside = await connection.fetchrow(OUTSIDE, start.position, head.position)
            names, connections = await connection.fetch(NAMES), await connection.fetch(CONNECTIONS)
        for what in ("event", "batch"):
            if (position := outside[f"{what}_before"]) is not None:
                raise DamageError("inserted", what, position, "it stands before the beginning")
        async with comparing(url, connection, self._redacted, head.position - start.position) as (compare, ahead):
            await self._stream(head, compare, ahead, show)
        self._check_head(heads[0])
        for what in ("event", "batch"):
            if (position := outside[f"{what}_beyond"]) is not None:
                raise DamageError("inserted", what, position, f"it stands beyond the head, {head.position}")
        if before is not None:
            self._check_counts(names, before)
        self._check_connections(connections)
        return self._verified

    async def _stream(self, head: Place, compare: Compare, ahead: int, show: Callable[[int, int], None]) -> None:
        """Follow the links window by window, while the events of windows before are compared."""
        connection, place, upto = self._connection, self._start, self._start.position
        waiting: deque[tuple[LogSlice, Awaitable[Compared | None] | None]] = deque()
        whole = True
        while True:
            # Nothing is read behind a link that does not hold, or behind a hole; but what stands before it comes first.
            while whole and upto < head.position and len(waiting) <= ahead:
                stretch = await read_batches(connection, upto, head.position)
                after = _linked(stretch, place)
                if after is None:
                    waiting.append((stretch, None))
                elif stretch.batches:
                    waiting.append((stretch, compare(stretch.batches, stretch.months)))
                place, upto = after or place, stretch.until
                whole = after is not None and place.position >= upto
            if not waiting:
                break
            stretch, comparing_it = waiting.popleft()
            compared = await comparing_it if comparing_it is not None else None
            if compared is None:
                stretch.rows = await read_rows(connection, stretch.batches)
                raise await damage_of(connection, stretch, self._verified.end, head, partial(same, self._redacted))
            self._take(stretch, compared)
            show(self._verified.end.position, head.position)
        if self._verified.end.position < head.position:
            raise await damage_behind(connection, self._verified.end, head)

    def _take(self, stretch: LogSlice, compared: Compared) -> None:
        for batch in stretch.batches:
            self._follow(batch)
        self._counts.update(compared.counts)
        self._lasts |= compared.lasts
        self._verified.events += compared.counts.total()
        self._verified.size += compared.size
        self._verified.end = Place(stretch.batches[-1].last, stretch.batches[-1].hash)

    def _follow(self, batch: Batch) -> None:
        """Check what a chain that was rewritten whole may have wrong: the order of ordinals, and of time."""
        writer = batch.pbx, batch.connection
        done = self._ordinals.get(writer, batch.ordinal - 1)
        if batch.ordinal != done + 1:
            why = f"ordinal {batch.ordinal} of {batch.pbx}/{batch.connection} follows {done}"
            raise DamageError("missing" if batch.ordinal > done else "reordered", "event", batch.first, why)
        if self._last is not None and batch.appended < self._last.appended:
            raise DamageError("reordered", "batch", batch.first, "it was appended before the one before", batch.last)
        self._ordinals[writer] = batch.ordinal + batch.last - batch.first
        self._last = batch
        self._verified.batches += 1
        if batch.last in self._marks:
            self._verified.hashes[batch.last] = batch.hash

    def _check_head(self, head: asyncpg.Record) -> None:
        place = self._verified.end
        appended = self._last.appended if self._last is not None else head["appended"]
        for column, value in {"position": place.position, "hash": place.hash, "appended": appended}.items():
            if head[column] != value:
                said = head[column].hex() if column == "hash" else head[column]
                raise DamageError("altered", "head", place.position, f"its {column} is {said}, not the last batch's")
        # A log that was imported may end before the newest month that is open here.
        if not head["open"] or head["month"] < month_of(appended):
            raise DamageError("altered", "head", place.position, f"its month is {head['month']}")

    def _check_counts(self, names: list[asyncpg.Record], before: Mapping[Kind, int]) -> None:
        said = {tuple(row[:3]): tuple(row[3:]) for row in names}
        # Of what came last before the start nothing is known but that.
        lasts = {kind: min(last, self._start.position) for kind, (_, last) in said.items()} | self._lasts
        counts = self._counts + Counter(before)
        true = {kind: (count, lasts.get(kind, 0)) for kind, count in counts.items()}
        for kind in sorted(said.keys() | true.keys()):
            if said.get(kind) != true.get(kind):
                is_, was = said.get(kind, (0, 0)), true.get(kind, (0, 0))
                why = (
                    f"ledger.name says {is_[0]} {'/'.join(kind)}, last {is_[1]}; the log holds {was[0]}, last {was[1]}"
                )
                raise DamageError("miscounted", "event", was[1] or is_[1], why)

    def _check_connections(self, connections: list[asyncpg.Record]) -> None:
        said = {(row[0], row[1]): row[2] for row in connections}
        for writer in sorted(said.keys() | self._ordinals.keys()):
            is_, was = said.get(writer), self._ordinals.get(writer)
            if is_ != was and (was is not None or (is_ and self._start == START)):
                why = f"ledger.connection says {is_} of {writer[0]}/{writer[1]}, the log {was}"
                raise DamageError("miscounted", "ordinal", was or is_ or 0, why)
