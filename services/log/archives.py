"""The archived months of the log, and so the start of the log.

The start of the log is the last archived position: the log continues after it. A log without archived months starts at
position 1.
"""

from datetime import date, datetime
from pathlib import PurePath

import asyncpg
from msgspec import Struct

from schemas.ledger_file import Manifest
from services.log.chain import ZERO_LINK

ARCHIVES = """
SELECT to_char(month, 'YYYY-MM'), first, last, previous, hash, ledger.microseconds(begun), ledger.microseconds(ended),
       ledger.microseconds(latest), events, file, sha256, counts::text, ledger.microseconds(archived)
FROM ledger.archive ORDER BY last
"""
LAST_ARCHIVED = "SELECT coalesce(max(last), 0) FROM ledger.archive"
COPIES = """
SELECT file FROM ledger.archive
UNION ALL
SELECT 'table archived.' || relname FROM pg_class WHERE relnamespace = 'archived'::regnamespace AND relkind = 'r'
ORDER BY 1
"""
DETACH = "SELECT ledger.detach($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
DROP = "SELECT month FROM ledger.drop_archived($1) AS month"


class Archive(Struct, frozen=True):
    """One archived month, a row of ``ledger.archive``; times are microseconds since the epoch.

    ``previous`` and ``hash`` are the chain's links before its first and after its last batch. ``latest_recorded`` is
    the greatest time of recording in this month and all months before it.
    """

    month: str
    first: int
    last: int
    previous: bytes
    hash: bytes
    first_appended: int
    last_appended: int
    latest_recorded: int
    events: int
    path: str
    sha256: bytes
    counts: str
    archived_at: int

    @property
    def file(self) -> str:
        """Return the file's name without its folder, which concerns the operator only."""
        return PurePath(self.path).name


class ArchivedError(Exception):
    """A position or time before the start of the log; the message is one line and names the file that holds it."""

    def __init__(self, what: str, archive: Archive) -> None:
        super().__init__(
            f"{what} is archived: {archive.file} holds {archive.month}, positions {archive.first} to {archive.last}"
        )
        self.archive = archive


class ArchiveCatalog(Struct, frozen=True):
    """The archived months, in order; false if there are none."""

    archives: tuple[Archive, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.archives)

    @property
    def position(self) -> int:
        """Return the last archived position, 0 for a log without archives."""
        return self.archives[-1].last if self.archives else 0

    @property
    def hash(self) -> bytes:
        """Return the link that the first batch of the log follows."""
        return self.archives[-1].hash if self.archives else ZERO_LINK

    @property
    def last_appended(self) -> int:
        """Return when the last archived batch was appended."""
        return self.archives[-1].last_appended if self.archives else 0

    @property
    def latest_recorded(self) -> int:
        """Return the greatest time of recording of all archived events."""
        return self.archives[-1].latest_recorded if self.archives else 0

    @property
    def file_names(self) -> str:
        """Return the names of all files, separated by commas."""
        return ", ".join(archive.file for archive in self.archives)

    def archive_of(self, position: int) -> Archive | None:
        """Return the archive that holds a position, None if no archive does."""
        return next((a for a in self.archives if a.first <= position <= a.last), None)

    def archive_at(self, at: int) -> Archive:
        """Return the archive of a time (microseconds) before the start of the log."""
        return next((a for a in self.archives if a.last_appended >= at), self.archives[-1])


async def read_catalog(connection: asyncpg.Connection) -> ArchiveCatalog:
    """Return the archived months."""
    return ArchiveCatalog(tuple(Archive(*row) for row in await connection.fetch(ARCHIVES)))


async def last_archived(connection: asyncpg.Connection) -> int:
    """Return the last archived position, 0 for a log without archives."""
    position: int = await connection.fetchval(LAST_ARCHIVED)
    return position


async def archived_copies(connection: asyncpg.Connection) -> list[str]:
    """Return the files of archived months, and their tables that were not dropped."""
    return [row[0] for row in await connection.fetch(COPIES)]


async def detach_month(
    connection: asyncpg.Connection,
    month: date,
    links: tuple[int, int, bytes, bytes],
    latest_recorded: datetime,
    file: tuple[PurePath, Manifest],
) -> None:
    """Move the tables of a month to schema ``archived``, and append `schemas.log.Archived`.

    ``links`` are its first and last position, and the chain's links before its first and after its last batch.
    """
    path, manifest = file
    counts = [(c.pbx, c.source, c.name, c.count) for c in manifest.counts]
    file_values = str(path), path.name, bytes.fromhex(manifest.sha256), counts
    await connection.execute(DETACH, month, *links, latest_recorded, *file_values)


async def drop_detached(connection: asyncpg.Connection, before: date) -> list[date]:
    """Drop the tables of archived months before ``before``; return these months."""
    return [row[0] for row in await connection.fetch(DROP, before)]
