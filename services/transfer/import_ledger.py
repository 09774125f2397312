"""``ringledger import FILE...``: what `export --output` wrote, into this log.

A file of all PBXes that follows exactly on what is here becomes a part of the same chain: same positions, same hashes.
Any other's events are appended as new ones, each under its own (pbx, connection, ordinal), so that none comes twice.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import asyncpg

from schemas.ledger_file import BatchLine
from services.database import connection as database
from services.database.migrate import migrate
from services.log.append import Seals, append_columns, seal_microseconds, to_columns
from services.log.archives import ArchivedError, read_catalog
from services.runtime.progress import Bar
from services.transfer.ledger_check import Checked, check
from services.transfer.ledger_file import Event, read

TOGETHER = 4096
TOGETHER_BYTES = 1 << 23
"""So much goes in one transaction: a listener waits for the lock no longer than for a batch of its own."""

HEAD = "SELECT position, hash FROM ledger.head"
HASH = "SELECT last, hash FROM ledger.batch WHERE first <= $1 ORDER BY first DESC LIMIT 1"
RESTORE = "SELECT ledger.restore($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
SPANS = """
SELECT c.pbx, c.connection, coalesce(min(b.ordinal), c.last_ordinal + 1), c.last_ordinal
FROM unnest($1::text[], $2::bigint[]) AS f (pbx, connection)
JOIN ledger.connection c USING (pbx, connection)
LEFT JOIN ledger.batch b USING (pbx, connection)
GROUP BY c.pbx, c.connection, c.last_ordinal
"""
BEGIN = """
INSERT INTO ledger.connection (pbx, connection, last_ordinal, last_recorded)
VALUES ($1, $2, $3 - 1, to_timestamp(0) + $4 * interval '1 microsecond') ON CONFLICT DO NOTHING
"""

Batches = Iterator[tuple[BatchLine, list[Event]]]
Put = Callable[[BatchLine, list[Event]], Awaitable[None]]

NOTHING = "all of it is there already, nothing to do"


class ImportRefusedError(Exception):
    """What should be imported cannot be; the message is one line."""


async def import_ledger(url: str, files: Sequence[Checked]) -> AsyncIterator[str]:
    """Import files that were checked, in the order of their positions; say of each what was done.

    Raises ImportRefusedError. May be repeated after any failure.
    """
    connection = await database.connect(url, application_name="ringledger import")
    try:
        await migrate(connection)
        for one in sorted(files, key=lambda c: c.manifest.first):
            yield f"{one.path}: {await _import(connection, one)}"
    except asyncpg.LockNotAvailableError as error:
        if not (error.detail or "").isdecimal():
            raise  # a lock_timeout, and no fence of ledger.append
        raise ImportRefusedError(f"another listener has taken over since: {error}") from None
    finally:
        await connection.close()


def checked(paths: Sequence[Path]) -> list[Checked]:
    """Check all files whole, before anything is written. Raises LedgerFileError."""
    with Bar("checking") as progress:
        return [check(path, progress.show) for path in paths]


async def _import(connection: asyncpg.Connection, one: Checked) -> str:
    manifest = one.manifest
    for archive in (await read_catalog(connection)).archives:
        if (archive.first, archive.previous.hex()) == (manifest.first, manifest.previous):
            raise ImportRefusedError(
                f"{one.path}: {ArchivedError('it', archive)}; the whole log comes back in an empty database only"
            )
    if manifest.pbx is None:
        head = await connection.fetchrow(HEAD)
        there = await connection.fetchrow(HASH, manifest.last)
        if there is not None and (there[0], there[1].hex()) == (manifest.last, manifest.hash):
            return NOTHING
        if await _follows(one, head["position"], head["hash"].hex()):
            return await _restore(connection, one, head["position"])
    return await _append(connection, one)


async def _follows(one: Checked, position: int, hash_: str) -> bool:
    manifest = one.manifest
    if not manifest.first <= position < manifest.last:
        return (manifest.first - 1, manifest.previous) == (position, hash_)
    return any(line.hash == hash_ for line, _ in read(one.path) if line.last == position)


async def _restore(connection: asyncpg.Connection, one: Checked, head: int) -> str:
    async def put(line: BatchLine, events: list[Event]) -> None:
        place = line.first, line.appended, bytes.fromhex(line.hash), line.pbx, line.connection, line.ordinal
        occurred, recorded = _times(events)
        sealed = Seals(occurred, recorded, [e.leaf for e in events], line.salts)
        await connection.execute(RESTORE, *place, *to_columns(events, sealed))

    rest = ((line, events) for line, events in read(one.path) if line.first > head)
    try:
        await _write(connection, rest, put, one.manifest.last - max(head, one.manifest.first - 1))
    except asyncpg.DataError as error:
        raise ImportRefusedError(f"{one.path}: {error}; does a listener append to this log?") from None
    return f"positions {max(one.manifest.first, head + 1)} to {one.manifest.last}, in the same chain"


async def _append(connection: asyncpg.Connection, one: Checked) -> str:
    found = await connection.fetch(SPANS, *map(list, zip(*one.spans, strict=True)))
    known = {(row[0], row[1]): (row[2], row[3]) for row in found}
    new = 0
    for writer, (first, last) in one.spans.items():
        begun, done = known.get(writer, (first, first - 1))
        new += max(0, last - done)
        where = f"{one.path}: of {writer[0]}/{writer[1]} it holds events {first} to {last}, the log {begun} to {done}"
        if first > done + 1:
            raise ImportRefusedError(f"{where}; import the part before position {one.manifest.first} first")
        if first < begun:
            raise ImportRefusedError(f"{where}; what came before cannot be put there any more")
    if not new:
        return NOTHING

    async def put(line: BatchLine, events: list[Event]) -> None:
        writer = line.pbx, line.connection
        if line.ordinal > 1 and writer not in known:
            await connection.execute(BEGIN, *writer, line.ordinal, events[0].recorded)
        if line.ordinal + len(events) > known.get(writer, (0, 0))[1]:
            sealed = seal_microseconds(*_times(events), events)
            await append_columns(connection, (*writer, line.ordinal), to_columns(events, sealed))

    await _write(connection, read(one.path), put, one.manifest.events)
    return f"{new} new events of {one.manifest.events}, at the end of the log"


def _times(events: list[Event]) -> tuple[list[int | None], list[int]]:
    return [e.occurred for e in events], [e.recorded for e in events]


async def _write(connection: asyncpg.Connection, batches: Batches, put: Put, total: int) -> None:
    done = 0
    with Bar("importing") as progress:
        for group in _groups(batches):
            async with connection.transaction():
                for line, events in group:
                    await put(line, events)
                    done += len(events)
            progress.show(done, total)


def _groups(batches: Batches) -> Iterator[list[tuple[BatchLine, list[Event]]]]:
    group: list[tuple[BatchLine, list[Event]]] = []
    count = size = 0
    for line, events in batches:
        count, size = count + len(events), size + sum([len(e.raw) for e in events])
        group.append((line, events))
        if count >= TOGETHER or size >= TOGETHER_BYTES:
            yield group
            group, count, size = [], 0, 0
    yield group
