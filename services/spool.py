"""The spool: events on this machine's disk that PostgreSQL does not have yet, in order, in SQLite files.

A file is one writer's backlog of one PBX; it is made when PostgreSQL is late and deleted when it has caught up. What
a killed process leaves is taken up by the next one.
"""

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from urllib.parse import quote, unquote

import structlog

from schemas.log import Received, Source

OVERHEAD = 64
"""What an event needs in the file besides its bytes, about."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    ordinal  INTEGER PRIMARY KEY,
    source   TEXT NOT NULL,
    name     TEXT NOT NULL,
    occurred REAL,
    recorded REAL NOT NULL,
    raw      BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS writer (connection INTEGER NOT NULL, before INTEGER NOT NULL);
"""
PUT = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)"
HEAD = "SELECT ordinal, source, name, occurred, recorded, raw FROM event ORDER BY ordinal LIMIT ?"
DROP = "DELETE FROM event WHERE ordinal <= ?"
CUT = "DELETE FROM event WHERE recorded > ?"
REPLACE = "UPDATE event SET source = ?, name = ?, occurred = ?, recorded = ?, raw = ? WHERE ordinal = ?"
SIZE = "SELECT count(*), coalesce(sum(length(raw)), 0), min(ordinal) FROM event"


logger = structlog.get_logger()


class SpoolFullError(Exception):
    """The disk takes no more; what it says is the message."""


class Spool:
    """One file, opened; nobody else can open it as long as this process has it.

    ``events`` and ``bytes`` are what it holds. Ordinals are those of `ledger.append`; they may be moved as a whole by
    `renumber`. All methods block for the disk's time.
    """

    def __init__(self, file: Path, writer: int) -> None:
        """Open or make ``file``; ``writer`` is for a new one. Raises sqlite3.OperationalError if another has it."""
        self.file = file
        self._connection = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            # A kill loses nothing that was committed; only the machine's own end may, of the last moment.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA.split(";"):
                self._connection.execute(statement)
            known = self._connection.execute("SELECT connection, before FROM writer").fetchone()
            if known is None:
                self._connection.execute("INSERT INTO writer VALUES (?, 0)", (writer,))
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.close()
            raise
        self.writer: int
        self._before: int
        self.writer, self._before = known or (writer, 0)
        self.events, size, first = self._connection.execute(SIZE).fetchone()
        self.bytes = size + self.events * OVERHEAD
        self.first: int = (first or 0) - self._before

    def put(self, first: int, events: Sequence[Received]) -> None:
        """Add events from ordinal ``first`` on. Raises SpoolFullError; then none of them was added."""
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
        self.bytes += sum([len(e.raw) for e in events]) + len(events) * OVERHEAD

    def head(self, limit: int) -> list[Received]:
        """Return the oldest events, from ordinal `first` on."""
        rows = self._connection.execute(HEAD, (limit,)).fetchall()
        return [Received(cast("Source", s), n, o, r, raw) for _, s, n, o, r, raw in rows]

    def drop(self, upto: int, size: int) -> None:
        """Forget the events up to an ordinal; ``size`` is that of their bytes together."""
        gone = self._connection.execute(DROP, (upto + self._before,)).rowcount
        self.events -= gone
        self.bytes -= size + gone * OVERHEAD
        self.first = upto + 1

    def cut(self, after: float) -> int:
        """Forget what was recorded after a time (seconds since the epoch); return how many events that was."""
        gone = self._connection.execute(CUT, (after,)).rowcount
        self.events, size, _ = self._connection.execute(SIZE).fetchone()
        self.bytes = size + self.events * OVERHEAD
        return gone

    def replace(self, event: Received) -> None:
        """Put another event in the place of the first."""
        old = self.head(1)[0]
        values = (event.source, event.name, event.occurred, event.recorded, event.raw, self.first + self._before)
        self._connection.execute(REPLACE, values)
        self.bytes += len(event.raw) - len(old.raw)

    def renumber(self, writer: int) -> None:
        """Give what is there to another writer, as its events from ordinal 1 on."""
        before = self._before + self.first - 1
        self._connection.execute("UPDATE writer SET connection = ?, before = ?", (writer, before))
        self.writer, self._before, self.first = writer, before, 1

    def close(self) -> None:
        """Close the file; delete it when it holds nothing."""
        self._connection.close()
        if not self.events:
            self.file.unlink()


class Spools:
    """The folder of all spools, and how many bytes one PBX's may hold together before reading stops."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def left(self, pbx: str, kind: str) -> list[Spool]:
        """Open what earlier processes left of a PBX, oldest first; what a living one has open is its own."""
        found = []
        for file in sorted(self.folder.glob(f"{_stem(pbx, kind)}.*.sqlite")):
            try:
                found.append(Spool(file, 0))
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorname != "SQLITE_BUSY":
                    logger.error("spool_unreadable", file=str(file), error=str(error))  # noqa: TRY400
        return found

    def names(self) -> set[tuple[str, str]]:
        """Return the (pbx, kind) of all spools that are there."""
        stems = (file.name.rsplit(".", 2)[0] for file in self.folder.glob("*.*.*.sqlite"))
        return {(unquote(name), kind) for name, _, kind in (stem.rpartition(".") for stem in stems)}

    def create(self, pbx: str, kind: str, writer: int) -> Spool:
        """Make a new file. Raises SpoolFullError."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Spool(self.folder / f"{_stem(pbx, kind)}.{time.time_ns()}.sqlite", writer)
        except (OSError, sqlite3.OperationalError) as error:
            raise SpoolFullError(str(error)) from None


def _stem(pbx: str, kind: str) -> str:
    # A name may hold anything; a file's may not, and the dots are ours.
    return f"{quote(pbx, safe='').replace('.', '%2E')}.{kind}"
