"""The archived months of the log, and so the start of the log.

The start of the log is the last archived position: the log continues after it. A log without archived months starts at
position 1.
"""

from pathlib import PurePath

import asyncpg
from msgspec import Struct

from services.log.chain import ZERO_LINK

ARCHIVES = """
SELECT to_char(month, 'YYYY-MM'), first, last, previous, hash, ledger.microseconds(begun), ledger.microseconds(ended),
       ledger.microseconds(latest), events, file, sha256, counts::text, ledger.microseconds(archived)
FROM ledger.archive ORDER BY last
"""
LAST = "SELECT coalesce(max(last), 0) FROM ledger.archive"


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
    position: int = await connection.fetchval(LAST)
    return position
