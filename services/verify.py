"""``ringledger verify``: computes the chain over the log anew, and names the first thing that does not fit."""

import contextlib
import gc
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import asyncpg
from msgspec import Struct

from services.batches import Stretch, connect, month_of, stretches
from services.chain import BEGINNING, LEAF, SALT, Batch, cut, leaf
from services.damage import DamageError, Place, damage_behind, damage_of
from services.progress import Bar
from services.redactions import Leaves, Summary

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

START = Place(0, BEGINNING)
Redacted = Mapping[int, Leaves]
"""By position: the leaf that was appended, and that of what stands there now, as an event of ours says."""


NO_LEDGER = (
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedTableError,
)


class NoLedgerError(Exception):
    """The database holds no ledger of this version; the message says what to do."""

    def __init__(self) -> None:
        super().__init__("the database holds no ledger of this version; `ringledger migrate` makes one")


class Verified(Struct):
    """What was found good, where it ends, the bytes of its events, and the hashes at the positions asked for.

    ``redactions`` are set by `services.audit`.
    """

    end: Place
    events: int = 0
    batches: int = 0
    size: int = 0
    hashes: dict[int, bytes] = {}
    redactions: list[Summary] = []


async def verify(
    url: str, marks: Iterable[int] = (), start: Place = START, redacted: Redacted | None = None
) -> Verified:
    """Verify all that follows ``start`` and is in the log now; a listener may go on. Raises DamageError.

    ``marks`` are positions whose hash is wanted, where a batch ends there. Raises NoLedgerError.
    """
    connection = await connect(url, "ringledger verify")
    # Thousands of rows at a time and no cycles: looking for cycles that often is a sixth of the work.
    usual = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        with Bar("verifying") as progress:
            return await _Verifier(connection, start, frozenset(marks), redacted or {}).run(progress.show)
    except NO_LEDGER:
        raise NoLedgerError from None
    finally:
        gc.set_threshold(*usual)
        await connection.close()


class _Verifier:
    def __init__(self, connection: asyncpg.Connection, start: Place, marks: frozenset[int], redacted: Redacted) -> None:
        self._connection = connection
        self._start = start
        self._marks = marks
        self._redacted = redacted
        self._last: Batch | None = None
        self._ordinals: dict[tuple[str, int], int] = {}
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._lasts: dict[tuple[str, str, str], int] = {}
        self._verified = Verified(start, hashes={start.position: start.hash})

    async def run(self, show: Callable[[int, int], None]) -> Verified:
        connection, place = self._connection, self._start
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            heads = await connection.fetch(HEAD)
            if len(heads) != 1:
                raise DamageError("altered", "head", 0, f"there are {len(heads)} of them")
            head = Place(heads[0]["position"], heads[0]["hash"])
            outside = await connection.fetchrow(OUTSIDE, place.position, head.position)
            names, connections = await connection.fetch(NAMES), await connection.fetch(CONNECTIONS)
        for what in ("event", "batch"):
            if (position := outside[f"{what}_before"]) is not None:
                raise DamageError("inserted", what, position, "it stands before the beginning")
        unfit: Stretch | None = None
        async with contextlib.aclosing(stretches(connection, place.position, head.position)) as reading:
            async for stretch in reading:
                if (after := self._taken(stretch, place)) is None:
                    unfit = stretch
                    break
                place = after
                if place.position < stretch.upto:
                    break
                show(place.position, head.position)
        if unfit is not None:
            raise await damage_of(connection, unfit, place, head, self._same)
        if place.position < head.position:
            raise await damage_behind(connection, place, head)
        self._check_head(place, heads[0])
        for what in ("event", "batch"):
            if (position := outside[f"{what}_beyond"]) is not None:
                raise DamageError("inserted", what, position, f"it stands beyond the head, {head.position}")
        if self._start == START:
            self._check_counts(names)
        self._check_connections(connections)
        self._verified.end = place
        return self._verified

    def _same(self, position: int, sealed: bytes, now: bytes) -> bool:
        return self._redacted.get(position, (sealed, sealed)) == (sealed, now)

    def _taken(self, stretch: Stretch, place: Place) -> Place | None:
        """Return the place behind a stretch whose batches and events all fit, None if something does not."""
        after = place
        for batch, month in zip(stretch.batches, stretch.months, strict=True):
            size = len(batch.leaves) // LEAF
            if (batch.first, batch.last) != (after.position + 1, after.position + size) or not size:
                return None
            if (
                len(batch.salts) != size * SALT
                or batch.hash != batch.link(after.hash)
                or month != month_of(batch.appended)
            ):
                return None
            after = Place(batch.last, batch.hash)
        if len(stretch.rows) != after.position - place.position:
            return None
        if stretch.rows and not self._fits(stretch):
            return None
        for batch in stretch.batches:
            self._follow(batch)
        return after

    def _fits(self, stretch: Stretch) -> bool:
        """Compare every column of every event with what was sealed, column by column, which is quick; and count."""
        batches = stretch.batches
        columns = list(zip(*stretch.rows, strict=True))
        positions, writers, ordinals, occurred, recorded, months, pbxes, sources, names, raws = columns
        spans = [range(b.last - b.first + 1) for b in batches]
        salts = cut(b"".join([b.salts for b in batches]), SALT)
        leaves = list(map(leaf, salts, occurred, recorded, sources, names, raws))
        sealed = b"".join([b.leaves for b in batches])
        alike = not self._redacted and b"".join(leaves) == sealed
        if not alike and not all(map(self._same, positions, cut(sealed, LEAF), leaves)):
            return False
        if not (
            positions == tuple(range(batches[0].first, batches[-1].last + 1))
            and ordinals == tuple([b.ordinal + i for b, span in zip(batches, spans, strict=True) for i in span])
            and writers == tuple([b.connection for b, span in zip(batches, spans, strict=True) for _ in span])
            and pbxes == tuple([b.pbx for b, span in zip(batches, spans, strict=True) for _ in span])
            and months == tuple([m for m, span in zip(stretch.months, spans, strict=True) for _ in span])
        ):
            return False
        kinds = list(zip(pbxes, sources, names, strict=True))
        self._counts.update(kinds)
        self._lasts.update(zip(kinds, positions, strict=True))
        self._verified.events += len(raws)
        self._verified.size += sum(map(len, raws))
        return True

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

    def _check_head(self, place: Place, head: asyncpg.Record) -> None:
        appended = self._last.appended if self._last is not None else head["appended"]
        for column, value in {"position": place.position, "hash": place.hash, "appended": appended}.items():
            if head[column] != value:
                said = head[column].hex() if column == "hash" else head[column]
                raise DamageError("altered", "head", place.position, f"its {column} is {said}, not the last batch's")
        # A log that was imported may end before the newest month that is open here.
        if not head["open"] or head["month"] < month_of(appended):
            raise DamageError("altered", "head", place.position, f"its month is {head['month']}")

    def _check_counts(self, names: list[asyncpg.Record]) -> None:
        said = {tuple(row[:3]): tuple(row[3:]) for row in names}
        true = {kind: (count, self._lasts[kind]) for kind, count in self._counts.items()}
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
