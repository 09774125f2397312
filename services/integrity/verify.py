"""The whole of ``ringledger verify``: the chain over the log, but for what its events say was redacted or archived."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import asyncpg
from msgspec import Struct

from services.database.errors import NO_LEDGER
from services.integrity import archives as archive_check
from services.integrity.chain_walk import NoLedgerError, Verified, verify
from services.integrity.damage import DamageError, Place
from services.log import redactions
from services.log.archives import ArchiveCatalog, read_catalog
from services.log.batches import connect_microseconds
from services.log.chain import ZERO_LINK


class _Said(Struct):
    """What the log says of itself: where it begins, events Archived, events Redacted."""

    edge: ArchiveCatalog
    archived: list[asyncpg.Record]
    redacted: list[asyncpg.Record]


async def audit(url: str, marks: Iterable[int] = (), files: Sequence[Path] = ()) -> Verified:
    """Verify the log as `verify` does, and ``files`` of archived months.

    A redaction or an archive may go on too; ``redactions`` of the result tells of all. Raises what `verify` and
    `archive_check.files` raise, and RedactionError for an event that says what cannot be.
    """
    marks = frozenset(marks)
    said = await _said(url)
    while True:
        archived, redacted = said.edge, redactions.collect(said.redacted)
        archive_check.rows(archived, said.archived)
        start, counts = Place(archived.position, archived.hash), archive_check.counts(archived)
        try:
            verified = await verify(url, marks, start, redacted.leaves, counts)
        except DamageError:
            before, said = said, await _said(url)
            if said == before:
                raise
            # It was redacted, or archived, while it was being read.
        else:
            break
    verified.redactions = redacted.summaries
    verified.edge = archived
    verified.hashes |= {0: ZERO_LINK} | {archive.last: archive.hash for archive in archived.archives}
    found = archive_check.files(archived, files, said.redacted, marks)
    verified.checked = set(found)
    for checked in found.values():
        verified.hashes |= checked.hashes
    return verified


async def _said(url: str) -> _Said:
    connection = await connect_microseconds(url, "ringledger verify")
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return _Said(
                await read_catalog(connection),
                await connection.fetch(archive_check.READ),
                await connection.fetch(redactions.READ),
            )
    except NO_LEDGER:
        raise NoLedgerError from None
    finally:
        await connection.close()
