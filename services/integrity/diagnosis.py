"""Finds the first damaged event or batch in a stretch of the log that does not match its chain."""

from bisect import bisect_left
from typing import Any

import asyncpg
from msgspec.structs import replace

from services.integrity.damage import BatchBoundary, DamageError, LeafMatcher
from services.log.batches import BATCHES, LogSlice, leaf_of, month_of, salt_at
from services.log.chain import LEAF_BYTES, SALT_BYTES, SealedBatch, split

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


async def diagnose(
    connection: asyncpg.Connection,
    stretch: LogSlice,
    boundary: BatchBoundary,
    head: BatchBoundary,
    leaf_matches: LeafMatcher,
) -> DamageError:
    """Return the first damage in ``stretch``, which follows ``boundary``; there must be some."""
    for index, batch in enumerate(stretch.batches):
        if batch.first != boundary.position + 1:
            return await _gap(connection, batch, boundary)
        rows = _rows(stretch, batch)
        if batch.last - batch.first + 1 != len(batch.leaves) // LEAF_BYTES or batch.link(boundary.hash) != batch.hash:
            later = stretch.batches[index + 1 :] or await _next(connection, batch.last, head)
            return _broken_link(batch, boundary, rows, later, head)
        if len(batch.salts) != len(batch.leaves) // LEAF_BYTES * SALT_BYTES:
            return DamageError("altered", "batch", batch.first, "its salts are not those of its events", batch.last)
        if stretch.months[index] != month_of(batch.appended):
            kind = "inserted" if [b.first for b in stretch.batches].count(batch.first) > 1 else "altered"
            return DamageError(kind, "batch", batch.first, f"its month is {stretch.months[index]}", batch.last)
        if (damage := await _damaged_event(connection, batch, rows, head, leaf_matches)) is not None:
            return damage
        boundary = BatchBoundary(batch.last, batch.hash)
    return DamageError("altered", "event", boundary.position + 1, "the damage could not be identified")


def _rows(stretch: LogSlice, batch: SealedBatch) -> list[asyncpg.Record]:
    def index_of(position: int) -> int:
        return bisect_left(stretch.rows, position, key=lambda row: row[0])

    return stretch.rows[index_of(batch.first) : index_of(batch.first + len(batch.leaves) // LEAF_BYTES)]


async def _next(connection: asyncpg.Connection, last: int, head: BatchBoundary) -> list[SealedBatch]:
    rows = await connection.fetch(BATCHES, last, min(last + 1, head.position))
    return [SealedBatch(*row[:10]) for row in rows]


async def _gap(connection: asyncpg.Connection, batch: SealedBatch, boundary: BatchBoundary) -> DamageError:
    first = boundary.position + 1
    if replace(batch, first=first).link(boundary.hash) == batch.hash:
        return DamageError("altered", "batch", first, f"its first is {batch.first}", batch.last)
    if batch.first <= boundary.position:
        return DamageError("inserted", "batch", batch.first, "another batch has its positions", batch.last)
    return await _missing(connection, first, batch.first - 1)


async def diagnose_end(connection: asyncpg.Connection, boundary: BatchBoundary, head: BatchBoundary) -> DamageError:
    """Return the damage where no batch follows ``boundary``, and it is not the head."""
    rows = await connection.fetch(BATCHES, boundary.position, head.position)
    if rows:
        return await _gap(connection, SealedBatch(*rows[0][:10]), boundary)
    if boundary.hash == head.hash:
        return DamageError(
            "altered", "head", boundary.position, f"its position is {head.position}, which its hash contradicts"
        )
    return await _missing(connection, boundary.position + 1, head.position)


async def _missing(connection: asyncpg.Connection, first: int, last: int) -> DamageError:
    if await connection.fetch(AT, first):
        return DamageError("missing", "batch", first, "its events exist, but no batch seals them", last)
    return DamageError("missing", "event", first, "their batch is missing too", last)


def _broken_link(
    batch: SealedBatch,
    boundary: BatchBoundary,
    rows: list[asyncpg.Record],
    later: list[SealedBatch],
    head: BatchBoundary,
) -> DamageError:
    """Return which column of a batch breaks its link: the one whose value, taken from the events, would restore it."""
    from_events: dict[str, Any] = {"last": batch.first + len(batch.leaves) // LEAF_BYTES - 1}
    if rows:
        from_events |= {"connection": rows[0][1], "ordinal": rows[0][2], "pbx": rows[0][6]}
        leaves = b"".join([_present_leaf(batch, row) for row in rows])
        from_events |= {"earliest": min(row[4] for row in rows), "leaves": leaves}
    for column, value in from_events.items():
        if value != getattr(batch, column) and replace(batch, **{column: value}).link(boundary.hash) == batch.hash:
            return DamageError("altered", "batch", batch.first, f"its {column} is not what was sealed", batch.last)
    link = batch.link(boundary.hash)
    if any(b.link(link) == b.hash for b in later[:1]) or (batch.last == head.position and head.hash == link):
        return DamageError("altered", "batch", batch.first, "its hash is not what was sealed", batch.last)
    if any(b.first == batch.first and b.link(boundary.hash) == b.hash for b in later):
        return DamageError("inserted", "batch", batch.first, "another batch has its positions", batch.last)
    return DamageError("altered", "batch", batch.first, "its link matches neither it nor the batch before", batch.last)


async def _damaged_event(
    connection: asyncpg.Connection,
    batch: SealedBatch,
    rows: list[asyncpg.Record],
    head: BatchBoundary,
    leaf_matches: LeafMatcher,
) -> DamageError | None:
    """Compare a batch's rows with its leaves, one by one."""
    by_position: dict[int, list[asyncpg.Record]] = {}
    for row in rows:
        by_position.setdefault(row[0], []).append(row)
    for offset in range(len(batch.leaves) // LEAF_BYTES):
        position = batch.first + offset
        at_position = by_position.get(position, [])
        if not at_position:
            return await _absent(connection, batch, position, by_position, head)
        if len(at_position) > 1:
            return DamageError("inserted", "event", position, f"{len(at_position)} events have this position")
        row = at_position[0]
        if not leaf_matches(position, _sealed_leaf(batch, position), _present_leaf(batch, row)):
            return await _other_event(connection, batch, position, row)
        sealed = (batch.connection, batch.ordinal + offset, month_of(batch.appended), batch.pbx)
        for column, value, expected in zip(COLUMNS, (*row[1:3], *row[5:7]), sealed, strict=True):
            if value != expected:
                return DamageError("altered", "event", position, f"its {column} is {value}, and was {expected}")
    return None


def _present_leaf(batch: SealedBatch, row: asyncpg.Record) -> bytes:
    return leaf_of(row, salt_at(batch, row[0] - batch.first))


def _sealed_leaf(batch: SealedBatch, position: int) -> bytes:
    start = (position - batch.first) * LEAF_BYTES
    return batch.leaves[start : start + LEAF_BYTES]


async def _absent(
    connection: asyncpg.Connection,
    batch: SealedBatch,
    position: int,
    by_position: dict[int, list[asyncpg.Record]],
    head: BatchBoundary,
) -> DamageError:
    ordinal = batch.ordinal + position - batch.first
    for row in await connection.fetch(STRAYS, head.position, batch.pbx, batch.connection, ordinal):
        if leaf_of(row, salt_at(batch, position - batch.first)) == _sealed_leaf(batch, position):
            return DamageError("altered", "event", position, f"its position is {row[0]} now")
    end = position
    while end < batch.first + len(batch.leaves) // LEAF_BYTES - 1 and end + 1 not in by_position:
        end += 1
    return DamageError("missing", "event", position, "there is no row", end)


async def _other_event(
    connection: asyncpg.Connection, batch: SealedBatch, position: int, row: asyncpg.Record
) -> DamageError:
    """Return the damage where ``row`` has a position at which another event was appended."""
    home = await _home(connection, batch, row)
    next_home = await _home_at(connection, batch, position + 1)
    is_shifted = next_home == position and (
        home is None or await _home_at(connection, batch, position + 2) == position + 1
    )
    if is_shifted:
        return DamageError("inserted", "event", position, "the event appended here is one position later")
    if home is not None and home > position:
        kind = "missing" if home == position + 1 and next_home != position else "reordered"
        return DamageError(kind, "event", position, f"the event here was appended as {home}")
    if home is not None:
        return DamageError("altered", "event", position, f"a copy of event {home} replaces it")
    return DamageError(
        "altered", "event", position, "its salt, times, source, name or bytes are not those that were appended"
    )


async def _home_at(connection: asyncpg.Connection, batch: SealedBatch, position: int) -> int | None:
    rows = await connection.fetch(AT, position)
    return await _home(connection, batch, rows[0]) if rows else None


async def _home(connection: asyncpg.Connection, batch: SealedBatch, row: asyncpg.Record) -> int | None:
    """Return the position at which a row was appended, by its own columns or else by its leaf in ``batch``."""
    origin = await connection.fetchrow(HOME, row[6], row[1], row[2])
    if origin is not None:
        at = row[2] - origin[1]
        if origin[2][at * LEAF_BYTES : (at + 1) * LEAF_BYTES] == leaf_of(
            row, origin[3][at * SALT_BYTES : (at + 1) * SALT_BYTES]
        ):
            return int(origin[0] + at)
    pairs = zip(split(batch.leaves, LEAF_BYTES), split(batch.salts, SALT_BYTES), strict=False)
    return next((batch.first + at for at, (leaf, salt) in enumerate(pairs) if leaf_of(row, salt) == leaf), None)
