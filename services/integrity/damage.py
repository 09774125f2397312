"""Names what is wrong with a stretch of the log that does not fit its chain: which event first, and how."""

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import asyncpg
from msgspec import Struct
from msgspec.structs import replace

from services.log.batches import BATCHES, LogSlice, leaf_of, month_of, salt_at
from services.log.chain import LEAF, SALT, Batch, split

HOME = """
SELECT first, ordinal, leaves, salts FROM ledger.batch
WHERE pbx = $1 AND connection = $2 AND ordinal <= $3 ORDER BY ordinal DESC LIMIT 1
"""
AT = """
SELECT position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw
FROM ledger.event WHERE position = $1
"""
STRAYS = """
SELECT position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw
FROM ledger.event WHERE (position > $1 OR position < 1) AND pbx = $2 AND connection = $3 AND ordinal = $4
"""
COLUMNS = ("connection", "ordinal", "month", "pbx")


class DamageError(Exception):
    """The log is not what was appended. ``kind`` is altered, missing, inserted, reordered, rewritten or miscounted.

    ``position`` is the first that is concerned; the message is one line and names it.
    """

    def __init__(self, kind: str, what: str, first: int, why: str, last: int = 0) -> None:
        many = "s" if what == "event" and last > first else ""
        super().__init__(f"{what}{many} {first}{f' to {last}' if last > first else ''} {kind}: {why}")
        self.kind = kind
        self.position = first


class Place(Struct, frozen=True):
    """A place between two batches: where the first ends, and its hash."""

    position: int
    hash: bytes


Same = Callable[[int, bytes, bytes], bool]
"""Tells whether an event whose leaf was sealed may have the leaf that it has now.

See `services.integrity.compare.Redacted`.
"""


async def damage_of(
    connection: asyncpg.Connection, stretch: LogSlice, place: Place, head: Place, same: Same
) -> DamageError:
    """Return what is wrong first with ``stretch``, which comes after ``place``; something must be."""
    for index, batch in enumerate(stretch.batches):
        if batch.first != place.position + 1:
            return await _gap(connection, batch, place)
        own = _rows(stretch, batch)
        if batch.last - batch.first + 1 != len(batch.leaves) // LEAF or batch.link(place.hash) != batch.hash:
            later = stretch.batches[index + 1 :] or await _next(connection, batch.last, head)
            return _broken(batch, place, own, later, head)
        if len(batch.salts) != len(batch.leaves) // LEAF * SALT:
            return DamageError("altered", "batch", batch.first, "its salts are not those of its events", batch.last)
        if stretch.months[index] != month_of(batch.appended):
            kind = "inserted" if [b.first for b in stretch.batches].count(batch.first) > 1 else "altered"
            return DamageError(kind, "batch", batch.first, f"its month is {stretch.months[index]}", batch.last)
        if (found := await _among(connection, batch, own, head, same)) is not None:
            return found
        place = Place(batch.last, batch.hash)
    return DamageError("altered", "event", place.position + 1, "something is wrong that has no name")


def _rows(stretch: LogSlice, batch: Batch) -> list[asyncpg.Record]:
    def at(position: int) -> int:
        return bisect_left(stretch.rows, position, key=lambda row: row[0])

    return stretch.rows[at(batch.first) : at(batch.first + len(batch.leaves) // LEAF)]


async def _next(connection: asyncpg.Connection, last: int, head: Place) -> list[Batch]:
    found = await connection.fetch(BATCHES, last, min(last + 1, head.position))
    return [Batch(*row[:10]) for row in found]


async def _gap(connection: asyncpg.Connection, batch: Batch, place: Place) -> DamageError:
    first = place.position + 1
    if replace(batch, first=first).link(place.hash) == batch.hash:
        return DamageError("altered", "batch", first, f"its first is {batch.first}", batch.last)
    if batch.first <= place.position:
        return DamageError("inserted", "batch", batch.first, "its positions are those of another", batch.last)
    return await _missing(connection, first, batch.first - 1)


async def damage_behind(connection: asyncpg.Connection, place: Place, head: Place) -> DamageError:
    """Return what is wrong where no batch follows ``place``, which is not the head."""
    found = await connection.fetch(BATCHES, place.position, head.position)
    if found:
        return await _gap(connection, Batch(*found[0][:10]), place)
    if place.hash == head.hash:
        return DamageError("altered", "head", place.position, f"it says {head.position}, and its hash does not")
    return await _missing(connection, place.position + 1, head.position)


async def _missing(connection: asyncpg.Connection, first: int, last: int) -> DamageError:
    if await connection.fetch(AT, first):
        return DamageError("missing", "batch", first, "its events are there, and nothing seals them", last)
    return DamageError("missing", "event", first, "and so is their batch", last)


def _broken(batch: Batch, place: Place, rows: list[asyncpg.Record], later: list[Batch], head: Place) -> DamageError:
    """Say which column of a batch does not fit its link: the one that, as the events tell it, would make it fit."""
    told: dict[str, Any] = {"last": batch.first + len(batch.leaves) // LEAF - 1}
    if rows:
        told |= {"connection": rows[0][1], "ordinal": rows[0][2], "pbx": rows[0][6]}
        told |= {"earliest": min(row[4] for row in rows), "leaves": b"".join([_leaf_in(batch, row) for row in rows])}
    for column, value in told.items():
        if value != getattr(batch, column) and replace(batch, **{column: value}).link(place.hash) == batch.hash:
            return DamageError("altered", "batch", batch.first, f"its {column} is not what was sealed", batch.last)
    true = batch.link(place.hash)
    if any(b.link(true) == b.hash for b in later[:1]) or (batch.last == head.position and head.hash == true):
        return DamageError("altered", "batch", batch.first, "its hash is not what was sealed", batch.last)
    if any(b.first == batch.first and b.link(place.hash) == b.hash for b in later):
        return DamageError("inserted", "batch", batch.first, "its positions are those of another", batch.last)
    return DamageError(
        "altered", "batch", batch.first, "its link does not fit it and what stands before it", batch.last
    )


async def _among(
    connection: asyncpg.Connection, batch: Batch, rows: list[asyncpg.Record], head: Place, same: Same
) -> DamageError | None:
    """Compare a batch's rows with its leaves, one by one."""
    by_position: dict[int, list[asyncpg.Record]] = {}
    for row in rows:
        by_position.setdefault(row[0], []).append(row)
    for offset in range(len(batch.leaves) // LEAF):
        position = batch.first + offset
        found = by_position.get(position, [])
        if not found:
            return await _absent(connection, batch, position, by_position, head)
        if len(found) > 1:
            return DamageError("inserted", "event", position, f"there are {len(found)} at this position")
        if not same(position, _leaf(batch, position), _leaf_in(batch, found[0])):
            return await _other(connection, batch, position, found[0])
        sealed = (batch.connection, batch.ordinal + offset, month_of(batch.appended), batch.pbx)
        for column, value, wanted in zip(COLUMNS, (*found[0][1:3], *found[0][5:7]), sealed, strict=True):
            if value != wanted:
                return DamageError("altered", "event", position, f"its {column} is {value}, and was {wanted}")
    return None


def _leaf_in(batch: Batch, row: asyncpg.Record) -> bytes:
    return leaf_of(row, salt_at(batch, row[0] - batch.first))


def _leaf(batch: Batch, position: int) -> bytes:
    at = (position - batch.first) * LEAF
    return batch.leaves[at : at + LEAF]


async def _absent(
    connection: asyncpg.Connection, batch: Batch, position: int, there: dict[int, list[asyncpg.Record]], head: Place
) -> DamageError:
    ordinal = batch.ordinal + position - batch.first
    for row in await connection.fetch(STRAYS, head.position, batch.pbx, batch.connection, ordinal):
        if leaf_of(row, salt_at(batch, position - batch.first)) == _leaf(batch, position):
            return DamageError("altered", "event", position, f"its position is {row[0]} now")
    end = position
    while end < batch.first + len(batch.leaves) // LEAF - 1 and end + 1 not in there:
        end += 1
    return DamageError("missing", "event", position, "nothing stands there", end)


async def _other(connection: asyncpg.Connection, batch: Batch, position: int, row: asyncpg.Record) -> DamageError:
    """Say what it means that ``row`` stands at a position where another one was appended."""
    home = await _home(connection, batch, row)
    behind = await _at(connection, batch, position + 1)
    moved = behind == position and (home is None or await _at(connection, batch, position + 2) == position + 1)
    if moved:
        return DamageError("inserted", "event", position, "what was appended there stands behind it")
    if home is not None and home > position:
        kind = "missing" if home == position + 1 and behind != position else "reordered"
        return DamageError(kind, "event", position, f"what stands there was appended as {home}")
    if home is not None:
        return DamageError("altered", "event", position, f"a copy of {home} stands in its place")
    return DamageError(
        "altered", "event", position, "its salt, times, source, name or bytes are not those that were appended"
    )


async def _at(connection: asyncpg.Connection, batch: Batch, position: int) -> int | None:
    rows = await connection.fetch(AT, position)
    return await _home(connection, batch, rows[0]) if rows else None


async def _home(connection: asyncpg.Connection, batch: Batch, row: asyncpg.Record) -> int | None:
    """Return the position as which a row was appended, by what it says of itself, or else by its leaf in ``batch``."""
    said = await connection.fetchrow(HOME, row[6], row[1], row[2])
    if said is not None:
        at = row[2] - said[1]
        if said[2][at * LEAF : (at + 1) * LEAF] == leaf_of(row, said[3][at * SALT : (at + 1) * SALT]):
            return int(said[0] + at)
    pairs = zip(split(batch.leaves, LEAF), split(batch.salts, SALT), strict=False)
    return next((batch.first + at for at, (leaf, salt) in enumerate(pairs) if leaf_of(row, salt) == leaf), None)
