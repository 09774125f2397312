"""One spool: events on this machine's disk that PostgreSQL does not have yet, in order, in one SQLite file.

A file is one writer's backlog of one PBX. It is created when PostgreSQL is late, and deleted when it has caught up. The
next process appends what a killed one left. A PBX's name may be of any length and contain any character. So the file
contains the name, and the file's own name contains a hash of it.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from schemas.log import NewEvent, Source
from services.runtime.private import open_private

EVENT_OVERHEAD_BYTES = 64
"""Approximate size of an event in the file besides its bytes."""

SCHEMA = """
CREATE TABLE event (
    ordinal  INTEGER PRIMARY KEY,
    source   TEXT NOT NULL,
    name     TEXT NOT NULL,
    occurred REAL,
    recorded REAL NOT NULL,
    raw      BLOB NOT NULL
);
CREATE TABLE writer (connection INTEGER NOT NULL, before INTEGER NOT NULL);
CREATE TABLE about (pbx TEXT NOT NULL, kind TEXT NOT NULL);
"""
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
PUT = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)"
READ = "SELECT ordinal, source, name, occurred, recorded, raw FROM event WHERE ordinal >= ? ORDER BY ordinal LIMIT ?"
DROP = "DELETE FROM event WHERE ordinal <= ?"
COUNT = "SELECT count(*) FROM event WHERE ordinal BETWEEN ? AND ?"
DISCARD = "DELETE FROM event WHERE recorded > ?"
REPLACE = "UPDATE event SET source = ?, name = ?, occurred = ?, recorded = ?, raw = ? WHERE ordinal = ?"
SIZE = "SELECT count(*), coalesce(sum(length(raw)), 0), min(ordinal) FROM event"


class SpoolFullError(Exception):
    """The disk accepts no more; the message is that of the operating system or of SQLite."""


class IncompleteSpoolError(Exception):
    """The file is empty: its creator was killed, or the disk was full."""


class Spool:
    """One open file, locked against every other process.

    ``events`` and ``bytes`` are its size. Ordinals are those of `ledger.append`; `renumber` may move them as a whole.
    ``about`` is (pbx, kind), None in a file of an older program. All methods block while the disk works.
    """

    def __init__(self, file: Path) -> None:
        """Open a file without writing, so that a full disk does not matter.

        Raises sqlite3.DatabaseError if another process has it open (SQLITE_BUSY) or it is damaged,
        IncompleteSpoolError and OSError.
        """
        self.file = file
        self._connection = _connect(file)
        try:
            if not file.stat().st_size:
                raise IncompleteSpoolError  # noqa: TRY301 (SQLite would initialise it)
            # The lock that this takes stays.
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("COMMIT")
            self.writer, self._before, self.about = _owner(self._connection)
            self.events, size, first = self._connection.execute(SIZE).fetchone()
        except BaseException:
            self._connection.close()
            raise
        self.bytes = size + self.events * EVENT_OVERHEAD_BYTES
        self.first: int = (first or 0) - self._before

    def put(self, first: int, events: Sequence[NewEvent]) -> None:
        """Add events from ordinal ``first`` on, all or none. Raises SpoolFullError."""
        rows = [
            (ordinal, e.source, e.name, e.occurred, e.recorded, e.raw)
            for ordinal, e in enumerate(events, first + self._before)
        ]
        try:
            self._connection.execute("BEGIN")
            self._connection.executemany(PUT, rows)
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            with contextlib.suppress(sqlite3.OperationalError):  # SQLite may have rolled back by itself
                self._connection.execute("ROLLBACK")
            raise SpoolFullError(str(error)) from None
        if not self.events:
            self.first = first
        self.events += len(events)
        self.bytes += sum([len(e.raw) for e in events]) + len(events) * EVENT_OVERHEAD_BYTES

    def read(self, limit: int) -> list[NewEvent]:
        """Return the oldest events, from ordinal `first` on. Raises sqlite3.DatabaseError if the file is damaged."""
        rows = self._connection.execute(READ, (self.first + self._before, limit)).fetchall()
        return [NewEvent(cast("Source", s), n, o, r, raw) for _, s, n, o, r, raw in rows]

    def drop(self, until: int, size: int) -> None:
        """Delete the events up to an ordinal; ``size`` is the sum of their bytes.

        A full disk or a damaged page refuses the deletion. The rows then stay until a later `drop` or until the file is
        removed.
        """
        (count,) = self._connection.execute(COUNT, (self.first + self._before, until + self._before)).fetchone()
        with contextlib.suppress(sqlite3.DatabaseError):  # the next process appends them again, which adds nothing
            self._connection.execute(DROP, (until + self._before,))
        self.events -= count
        self.bytes -= size + count * EVENT_OVERHEAD_BYTES
        self.first = until + 1

    def discard_after(self, time: float) -> int:
        """Delete the events recorded after a time (seconds since the epoch); return their number."""
        self._connection.execute(DROP, (self.first + self._before - 1,))
        count = self._connection.execute(DISCARD, (time,)).rowcount
        self.events, size, _ = self._connection.execute(SIZE).fetchone()
        self.bytes = size + self.events * EVENT_OVERHEAD_BYTES
        return count

    def replace(self, event: NewEvent) -> None:
        """Replace the first event."""
        old = self.read(1)[0]
        values = (event.source, event.name, event.occurred, event.recorded, event.raw, self.first + self._before)
        self._connection.execute(REPLACE, values)
        self.bytes += len(event.raw) - len(old.raw)

    def renumber(self, writer: int) -> None:
        """Assign the events to another writer, from ordinal 1 on."""
        before = self._before + self.first - 1
        self._connection.execute(DROP, (before,))
        self._connection.execute("UPDATE writer SET connection = ?, before = ?", (writer, before))
        self.writer, self._before, self.first = writer, before, 1

    def close(self) -> None:
        """Close the file, and delete it if it has no events."""
        self._connection.close()
        if not self.events:
            remove_spool(self.file)


def create_spool(file: Path, writer: int, pbx: str, kind: str) -> Spool:
    """Create a file that is complete as soon as it has its name. Raises sqlite3.OperationalError or OSError."""
    new = file.with_name(f"{file.name}.new")
    try:
        open_private(new, "xb").close()
        with contextlib.closing(_connect(new)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO writer VALUES (?, 0)", (writer,))
            connection.execute("INSERT INTO about VALUES (?, ?)", (pbx, kind))
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
        new.rename(file)
    except BaseException:
        remove_spool(new)
        raise
    try:
        return Spool(file)
    except BaseException:
        remove_spool(file)
        raise


def remove_spool(file: Path) -> None:
    """Delete a spool without events."""
    for suffix in ("", "-wal", "-journal"):  # SQLite leaves them on a full disk
        file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)


def _connect(file: Path) -> sqlite3.Connection:
    # SQLite gives the files beside it (WAL) the mode of this one.
    open_private(file, "ab").close()
    connection = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    # A killed process loses no committed event; only a crash of the machine may lose those of the last moment.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _owner(connection: sqlite3.Connection) -> tuple[int, int, tuple[str, str] | None]:
    """Return the writer, the offset of its ordinals, and (pbx, kind). Raises IncompleteSpoolError."""
    tables = {name for (name,) in connection.execute(TABLES)}
    row = connection.execute("SELECT connection, before FROM writer").fetchone() if tables else None
    if row is None:
        raise IncompleteSpoolError
    about = connection.execute("SELECT pbx, kind FROM about").fetchone() if "about" in tables else None
    return *row, about
