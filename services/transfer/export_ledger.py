"""``ringledger export --output``: writes whole batches of the log to a file for ``ringledger import``."""

import contextlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import asyncpg

from schemas.ledger_file import Manifest
from services.log import redactions
from services.log.archives import read_catalog
from services.log.batches import connect_microseconds, read_slices, salt_at
from services.log.bounds import Bound, positions_between, require_pbx
from services.log.chain import SealedBatch
from services.log.redactions import Leaves, RedactionError
from services.runtime.progress import ProgressBar
from services.transfer.ledger_file import FileEvent
from services.transfer.ledger_writer import LedgerFileWriter

# A link seals a whole batch, so the file starts with the batch that contains the first position.
FIRST_BATCH = "SELECT first FROM ledger.batch WHERE first <= $1 ORDER BY first DESC LIMIT 1"
PREVIOUS = "SELECT hash FROM ledger.batch WHERE last = $1 - 1 AND first < $1 ORDER BY first DESC LIMIT 1"


class ExportError(Exception):
    """There is nothing to export, or the log is damaged; the message is one line."""


async def export_ledger(
    url: str, file: Path, pbx: str | None = None, since: Bound = None, until: Bound = None
) -> Manifest:
    """Write the batches between two bounds, of one PBX or of all, to ``file``, and its manifest beside it.

    Raises UnknownPbxError, ArchivedError, ExportError and OSError; then no file is left behind.
    """
    connection = await connect_microseconds(url, "ringledger export")
    try:
        if pbx is not None:
            await require_pbx(connection, pbx)
        first, last = await positions_between(connection, since, until)
        if first > last:
            raise ExportError("the log has no events between these bounds")
        writer = LedgerFileWriter(file, pbx)
        try:
            await _write(connection, writer, pbx, first, last)
            if not writer.batches:
                raise ExportError(f"the log has no events of {pbx} between these bounds")  # noqa: TRY301 (discarded below)
            return writer.finish()
        except BaseException:
            writer.discard()
            raise
    except RedactionError as error:
        raise ExportError(f"{error}; run `ringledger verify` for details") from None
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        raise ExportError("the database has no ledger") from None
    finally:
        await connection.close()


async def _write(
    connection: asyncpg.Connection, writer: LedgerFileWriter, pbx: str | None, first: int, last: int
) -> None:
    start = await connection.fetchval(FIRST_BATCH, first) or first
    redacted = (await redactions.read_redactions(connection)).leaves
    catalog = await read_catalog(connection)
    previous = catalog.hash
    if start != catalog.position + 1:
        previous = await connection.fetchval(PREVIOUS, start) or b""
    with ProgressBar("exporting") as progress:
        async with contextlib.aclosing(read_slices(connection, start - 1, last, pbx)) as reading:
            async for stretch in reading:
                rows = iter(stretch.rows)
                for batch in stretch.batches:
                    if pbx in {None, batch.pbx}:
                        writer.put(batch, previous, _events(batch, previous, rows, redacted))
                    previous = batch.hash
                progress.show(min(stretch.until, last) - start + 1, last - start + 1)


def _events(
    batch: SealedBatch, previous: bytes, rows: Iterator[asyncpg.Record], redacted: dict[int, Leaves]
) -> list[FileEvent]:
    events: list[FileEvent] = []
    is_intact = batch.link(previous) == batch.hash
    for offset, row in enumerate(islice(rows, batch.last - batch.first + 1)):
        sealed, present = redacted.get(batch.first + offset, (None, b""))
        event = FileEvent(salt_at(batch, offset), row[3], row[4], row[7], row[8], row[9], sealed)
        is_intact &= sealed is None or event.present_leaf == present
        events.append(event)
    # An exported damage would be noticed only where it can no longer be repaired.
    if not is_intact or b"".join([e.leaf for e in events]) != batch.leaves:
        positions = f"positions {batch.first} to {batch.last}"
        raise ExportError(f"{positions} differ from what was appended; run `ringledger verify` for details")
    return events
