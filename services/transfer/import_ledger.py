"""``ringledger import FILE...``: imports files of ``ringledger export --output`` into this log.

A file of all PBXes that follows the end of this log directly continues the same chain: same positions, same hashes. The
events of any other file are appended as new ones, each under its own (pbx, connection, ordinal), so that none is
imported twice.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import asyncpg

from schemas.ledger_file import BatchLine
from services.database.connection import connect
from services.database.migrate import migrate
from services.log import append as log
from services.log.archives import ArchivedError, read_catalog
from services.log.read import read_head
from services.runtime.progress import ProgressBar
from services.transfer.ledger_check import CheckedFile, check_file
from services.transfer.ledger_file import FileEvent, read_batches

TRANSACTION_EVENTS = 4096
TRANSACTION_BYTES = 1 << 23
"""The size of one transaction: a listener waits for the lock no longer than for a batch of its own."""

HASH = "SELECT last, hash FROM ledger.batch WHERE first <= $1 ORDER BY first DESC LIMIT 1"
RESTORE = "SELECT ledger.restore($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
SPANS = """
SELECT c.pbx, c.connection, coalesce(min(b.ordinal), c.last_ordinal + 1), c.last_ordinal
FROM unnest($1::text[], $2::bigint[]) AS f (pbx, connection)
JOIN ledger.connection c USING (pbx, connection)
LEFT JOIN ledger.batch b USING (pbx, connection)
GROUP BY c.pbx, c.connection, c.last_ordinal
"""
CREATE_CONNECTION = """
INSERT INTO ledger.connection (pbx, connection, last_ordinal, last_recorded)
VALUES ($1, $2, $3 - 1, to_timestamp(0) + $4 * interval '1 microsecond') ON CONFLICT DO NOTHING
"""

Batches = Iterator[tuple[BatchLine, list[FileEvent]]]
PutBatch = Callable[[BatchLine, list[FileEvent]], Awaitable[None]]

NOTHING = "nothing to do, all events are already in the log"


class ImportRefusedError(Exception):
    """The file cannot be imported; the message is one line."""


async def import_ledger(url: str, files: Sequence[CheckedFile]) -> AsyncIterator[str]:
    """Import checked files in the order of their positions; yield a line about each.

    Raises ImportRefusedError. May be repeated after any failure.
    """
    connection = await connect(url, application_name="ringledger import")
    try:
        await migrate(connection)
        for file in sorted(files, key=lambda f: f.manifest.first):
            yield f"{file.path}: {await _import(connection, file)}"
    except asyncpg.LockNotAvailableError as error:
        if not (error.detail or "").isdecimal():
            raise  # A lock_timeout, and not the fence of ledger.append.
        raise ImportRefusedError(f"another listener has taken over since: {error}") from None
    finally:
        await connection.close()


def check_files(paths: Sequence[Path]) -> list[CheckedFile]:
    """Check all files completely. Raises LedgerFileError."""
    with ProgressBar("checking") as progress:
        return [check_file(path, progress.show) for path in paths]


async def _import(connection: asyncpg.Connection, file: CheckedFile) -> str:
    manifest = file.manifest
    for archive in (await read_catalog(connection)).archives:
        if (archive.first, archive.previous.hex()) == (manifest.first, manifest.previous):
            raise ImportRefusedError(
                f"{file.path}: {ArchivedError('it', archive)}; to restore the whole log, import into an empty database"
            )
    if manifest.pbx is None:
        head = await read_head(connection)
        batch = await connection.fetchrow(HASH, manifest.last)
        if batch is not None and (batch[0], batch[1].hex()) == (manifest.last, manifest.hash):
            return NOTHING
        if await _continues_log(file, head["position"], head["hash"].hex()):
            return await _restore(connection, file, head["position"])
    return await _append(connection, file)


async def _continues_log(file: CheckedFile, position: int, hash_: str) -> bool:
    manifest = file.manifest
    if not manifest.first <= position < manifest.last:
        return (manifest.first - 1, manifest.previous) == (position, hash_)
    return any(line.hash == hash_ for line, _ in read_batches(file.path) if line.last == position)


async def _restore(connection: asyncpg.Connection, file: CheckedFile, head: int) -> str:
    async def put(line: BatchLine, events: list[FileEvent]) -> None:
        batch = line.first, line.appended, bytes.fromhex(line.hash), line.pbx, line.connection, line.ordinal
        occurred, recorded = _times(events)
        seals = log.Seals(occurred, recorded, [e.leaf for e in events], line.salts)
        await connection.execute(RESTORE, *batch, *log.to_columns(events, seals))

    rest = ((line, events) for line, events in read_batches(file.path) if line.first > head)
    try:
        await _write(connection, rest, put, file.manifest.last - max(head, file.manifest.first - 1))
    except asyncpg.DataError as error:
        raise ImportRefusedError(f"{file.path}: {error}; a listener may be appending to this log") from None
    return f"positions {max(file.manifest.first, head + 1)} to {file.manifest.last}, in the same chain"


async def _append(connection: asyncpg.Connection, file: CheckedFile) -> str:
    rows = await connection.fetch(SPANS, *map(list, zip(*file.spans, strict=True)))
    spans = {(row[0], row[1]): (row[2], row[3]) for row in rows}
    new = 0
    for writer, (first, last) in file.spans.items():
        log_first, log_last = spans.get(writer, (first, first - 1))
        new += max(0, last - log_last)
        name = f"{writer[0]}/{writer[1]}"
        where = f"{file.path}: it has events {first} to {last} of {name}, the log {log_first} to {log_last}"
        if first > log_last + 1:
            raise ImportRefusedError(f"{where}; import the part before position {file.manifest.first} first")
        if first < log_first:
            raise ImportRefusedError(f"{where}; earlier events cannot be inserted any more")
    if not new:
        return NOTHING

    async def put(line: BatchLine, events: list[FileEvent]) -> None:
        writer = line.pbx, line.connection
        if line.ordinal > 1 and writer not in spans:
            await connection.execute(CREATE_CONNECTION, *writer, line.ordinal, events[0].recorded)
        if line.ordinal + len(events) > spans.get(writer, (0, 0))[1]:
            seals = log.seal_microseconds(*_times(events), events)
            await log.append_columns(connection, (*writer, line.ordinal), log.to_columns(events, seals))

    await _write(connection, read_batches(file.path), put, file.manifest.events)
    return f"{new} new events of {file.manifest.events}, at the end of the log"


def _times(events: list[FileEvent]) -> tuple[list[int | None], list[int]]:
    return [e.occurred for e in events], [e.recorded for e in events]


async def _write(connection: asyncpg.Connection, batches: Batches, put: PutBatch, total: int) -> None:
    done = 0
    with ProgressBar("importing") as progress:
        for group in _transactions(batches):
            async with connection.transaction():
                for line, events in group:
                    await put(line, events)
                    done += len(events)
            progress.show(done, total)


def _transactions(batches: Batches) -> Iterator[list[tuple[BatchLine, list[FileEvent]]]]:
    group: list[tuple[BatchLine, list[FileEvent]]] = []
    count = size = 0
    for line, events in batches:
        count, size = count + len(events), size + sum([len(e.raw) for e in events])
        group.append((line, events))
        if count >= TRANSACTION_EVENTS or size >= TRANSACTION_BYTES:
            yield group
            group, count, size = [], 0, 0
    yield group
