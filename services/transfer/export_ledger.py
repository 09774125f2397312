"""``ringledger export --output``: batches of the log, whole, to a file that `import` takes anywhere."""

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
from services.log.chain import Batch
from services.log.redactions import Leaves, RedactionError
from services.runtime.progress import Bar
from services.transfer.ledger_file import Event, Writer

# Batches are kept whole, for a link seals a whole batch: the one that the first position falls into is the first.
BEGIN = "SELECT first FROM ledger.batch WHERE first <= $1 ORDER BY first DESC LIMIT 1"
PREVIOUS = "SELECT hash FROM ledger.batch WHERE last = $1 - 1 AND first < $1 ORDER BY first DESC LIMIT 1"


class ExportError(Exception):
    """There is nothing to export, or it is not what was appended; the message is one line."""


async def export_ledger(
    url: str, file: Path, pbx: str | None = None, since: Bound = None, until: Bound = None
) -> Manifest:
    """Write the batches between two bounds, of one PBX or of all, to ``file``, and its manifest beside it.

    Raises UnknownPbxError, ArchivedError, ExportError and OSError; then nothing is left behind.
    """
    connection = await connect_microseconds(url, "ringledger export")
    try:
        if pbx is not None:
            await require_pbx(connection, pbx)
        first, last = await positions_between(connection, since, until)
        if first > last:
            raise ExportError("the log holds nothing there")
        writer = Writer(file, pbx)
        try:
            await _write(connection, writer, pbx, first, last)
            if not writer.batches:
                raise ExportError(f"the log holds nothing of {pbx} there")  # noqa: TRY301 (the file goes as at any fault)
            return writer.finish()
        except BaseException:
            writer.discard()
            raise
    except RedactionError as error:
        raise ExportError(f"{error}; `ringledger verify` says more") from None
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        raise ExportError("the database holds no ledger") from None
    finally:
        await connection.close()


async def _write(connection: asyncpg.Connection, writer: Writer, pbx: str | None, first: int, last: int) -> None:
    begin = await connection.fetchval(BEGIN, first) or first
    redacted = (await redactions.read_redactions(connection)).leaves
    archived = await read_catalog(connection)
    previous = archived.hash
    if begin != archived.position + 1:
        previous = await connection.fetchval(PREVIOUS, begin) or b""
    with Bar("exporting") as progress:
        async with contextlib.aclosing(read_slices(connection, begin - 1, last, pbx)) as reading:
            async for stretch in reading:
                rows = iter(stretch.rows)
                for batch in stretch.batches:
                    if pbx in {None, batch.pbx}:
                        writer.put(batch, previous, _events(batch, previous, rows, redacted))
                    previous = batch.hash
                progress.show(min(stretch.until, last) - begin + 1, last - begin + 1)


def _events(batch: Batch, previous: bytes, rows: Iterator[asyncpg.Record], redacted: dict[int, Leaves]) -> list[Event]:
    events: list[Event] = []
    true = batch.link(previous) == batch.hash
    for offset, row in enumerate(islice(rows, batch.last - batch.first + 1)):
        sealed, now = redacted.get(batch.first + offset, (None, b""))
        event = Event(salt_at(batch, offset), row[3], row[4], row[7], row[8], row[9], sealed)
        true &= sealed is None or event.now == now
        events.append(event)
    # Damage would be carried away in silence, to be found where nobody can mend it.
    if not true or b"".join([e.leaf for e in events]) != batch.leaves:
        where = f"positions {batch.first} to {batch.last}"
        raise ExportError(f"{where} are not what was appended; `ringledger verify` says more")
    return events
