"""``ringledger verify``: proves that the log is what was appended, except for recorded redactions and archives."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import asyncpg
from msgspec import Struct

from services.database.errors import NO_LEDGER, NoLedgerError
from services.integrity.archives import ARCHIVED_EVENTS, check_files, check_rows, count_events
from services.integrity.chain_walk import Verification, walk_chain
from services.integrity.damage import BatchBoundary, DamageError
from services.log import redactions
from services.log.archives import ArchiveCatalog, read_catalog
from services.log.batches import connect_microseconds
from services.log.chain import ZERO_LINK


class _Records(Struct):
    """The records of the log about itself: archived months, Archived events, Redacted events."""

    catalog: ArchiveCatalog
    archived: list[asyncpg.Record]
    redacted: list[asyncpg.Record]


async def verify_log(url: str, marks: Iterable[int] = (), files: Sequence[Path] = ()) -> Verification:
    """Verify the log, and ``files`` of archived months, also during a redaction or an archive.

    The result's ``redactions`` describes all redactions. Raises the errors of `walk_chain` and `check_files`, and
    RedactionError for an invalid Redacted event.
    """
    marks = frozenset(marks)
    records = await _read_records(url)
    while True:
        catalog, redacted = records.catalog, redactions.collect(records.redacted)
        check_rows(catalog, records.archived)
        start = BatchBoundary(catalog.position, catalog.hash)
        try:
            result = await walk_chain(url, marks, start, redacted.leaves, count_events(catalog))
        except DamageError:
            before, records = records, await _read_records(url)
            if records == before:
                raise
            # The log was redacted or archived during the walk.
        else:
            break
    result.redactions = redacted.summaries
    result.archives = catalog
    result.hashes |= {0: ZERO_LINK} | {archive.last: archive.hash for archive in catalog.archives}
    checked = check_files(catalog, files, records.redacted, marks)
    result.checked = set(checked)
    for file in checked.values():
        result.hashes |= file.hashes
    return result


async def _read_records(url: str) -> _Records:
    connection = await connect_microseconds(url, "ringledger verify")
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return _Records(
                await read_catalog(connection),
                await connection.fetch(ARCHIVED_EVENTS),
                await connection.fetch(redactions.READ),
            )
    except NO_LEDGER:
        raise NoLedgerError from None
    finally:
        await connection.close()
