"""The spool: events on this machine's disk that PostgreSQL does not have yet, in order, in SQLite files.

A file is one writer's backlog of one PBX; it is made when PostgreSQL is late and deleted when it has caught up. What
a killed process leaves is taken up by the next one. A PBX's name may hold anything and be of any length, so it stands
in the file; in the file's own name stands a hash of it.
"""

import contextlib
import hashlib
import os
import sqlite3
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast
from urllib.parse import quote, unquote

import structlog

from schemas.log import NewEvent, Source
from services.runtime.private import make_folder, open_private

KINDS = ("ami", "ari")
PROBE_BYTES = 1 << 16
STALE_SECONDS = 600.0
"""A killed process left a probe, or an unfinished file, of this age."""
BUSY_SECONDS = 0.2
OVERHEAD = 64
"""What an event needs in the file besides its bytes, about."""

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
HEAD = "SELECT ordinal, source, name, occurred, recorded, raw FROM event WHERE ordinal >= ? ORDER BY ordinal LIMIT ?"
DROP = "DELETE FROM event WHERE ordinal <= ?"
COUNT = "SELECT count(*) FROM event WHERE ordinal BETWEEN ? AND ?"
CUT = "DELETE FROM event WHERE recorded > ?"
REPLACE = "UPDATE event SET source = ?, name = ?, occurred = ?, recorded = ?, raw = ? WHERE ordinal = ?"
SIZE = "SELECT count(*), coalesce(sum(length(raw)), 0), min(ordinal) FROM event"


logger = structlog.get_logger()


class SpoolFullError(Exception):
    """The disk takes no more; what it says is the message."""


class UnmadeError(Exception):
    """The file holds nothing: the process that began to make it was killed, or the disk was full."""


class Spool:
    """One file, opened; nobody else can open it as long as this process has it.

    ``events`` and ``bytes`` are what it holds. Ordinals are those of `ledger.append`; they may be moved as a whole by
    `renumber`. ``about`` is (pbx, kind), None in a file of an older program. All methods block for the disk's time.
    """

    def __init__(self, file: Path) -> None:
        """Open a file; nothing is written, so that a full disk does not matter.

        Raises sqlite3.DatabaseError if another process has it (SQLITE_BUSY) or it cannot be read, UnmadeError and
        OSError.
        """
        self.file = file
        self._connection = _connect(file)
        try:
            if not file.stat().st_size:
                raise UnmadeError  # noqa: TRY301 (SQLite would make it)
            # The lock that this takes stays.
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("COMMIT")
            self.writer, self._before, self.about = _owner(self._connection)
            self.events, size, first = self._connection.execute(SIZE).fetchone()
        except BaseException:
            self._connection.close()
            raise
        self.bytes = size + self.events * OVERHEAD
        self.first: int = (first or 0) - self._before

    def put(self, first: int, events: Sequence[NewEvent]) -> None:
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

    def head(self, limit: int) -> list[NewEvent]:
        """Return the oldest events, from ordinal `first` on. Raises sqlite3.DatabaseError where the file is damaged."""
        rows = self._connection.execute(HEAD, (self.first + self._before, limit)).fetchall()
        return [NewEvent(cast("Source", s), n, o, r, raw) for _, s, n, o, r, raw in rows]

    def drop(self, upto: int, size: int) -> None:
        """Forget the events up to an ordinal; ``size`` is that of their bytes together.

        A full disk or a damaged page takes no deletion. The rows stay then, until a later `drop` or the file's removal.
        """
        (gone,) = self._connection.execute(COUNT, (self.first + self._before, upto + self._before)).fetchone()
        with contextlib.suppress(sqlite3.DatabaseError):  # a killed process appends them again, which adds nothing
            self._connection.execute(DROP, (upto + self._before,))
        self.events -= gone
        self.bytes -= size + gone * OVERHEAD
        self.first = upto + 1

    def cut(self, after: float) -> int:
        """Forget what was recorded after a time (seconds since the epoch); return how many events that was."""
        self._connection.execute(DROP, (self.first + self._before - 1,))
        gone = self._connection.execute(CUT, (after,)).rowcount
        self.events, size, _ = self._connection.execute(SIZE).fetchone()
        self.bytes = size + self.events * OVERHEAD
        return gone

    def replace(self, event: NewEvent) -> None:
        """Put another event in the place of the first."""
        old = self.head(1)[0]
        values = (event.source, event.name, event.occurred, event.recorded, event.raw, self.first + self._before)
        self._connection.execute(REPLACE, values)
        self.bytes += len(event.raw) - len(old.raw)

    def renumber(self, writer: int) -> None:
        """Give what is there to another writer, as its events from ordinal 1 on."""
        before = self._before + self.first - 1
        self._connection.execute(DROP, (before,))
        self._connection.execute("UPDATE writer SET connection = ?, before = ?", (writer, before))
        self.writer, self._before, self.first = writer, before, 1

    def close(self) -> None:
        """Close the file; delete it when it holds nothing."""
        self._connection.close()
        if not self.events:
            remove(self.file)


def make(file: Path, writer: int, pbx: str, kind: str) -> Spool:
    """Make a file, complete from the moment when it has its name. Raises sqlite3.OperationalError or OSError."""
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
        remove(new)
        raise
    try:
        return Spool(file)
    except BaseException:
        remove(file)
        raise


def remove(file: Path) -> None:
    """Delete a spool that holds nothing."""
    for end in ("", "-wal", "-journal"):  # SQLite leaves them on a full disk
        file.with_name(f"{file.name}{end}").unlink(missing_ok=True)


def _connect(file: Path) -> sqlite3.Connection:
    # SQLite gives the files beside it (WAL) the mode of this one.
    open_private(file, "ab").close()
    connection = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    # A kill loses nothing that was committed; only the machine's own end may, of the last moment.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _owner(connection: sqlite3.Connection) -> tuple[int, int, tuple[str, str] | None]:
    """Return the writer, how many ordinals it does not count, and (pbx, kind). Raises UnmadeError."""
    tables = {name for (name,) in connection.execute(TABLES)}
    row = connection.execute("SELECT connection, before FROM writer").fetchone() if tables else None
    if row is None:
        raise UnmadeError
    about = connection.execute("SELECT pbx, kind FROM about").fetchone() if "about" in tables else None
    return *row, about


class Spools:
    """The folder of all spools, and how many bytes one PBX's may hold together before reading stops."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._unreadable: dict[Path, str] = {}

    def left(self, pbx: str, kind: str) -> list[Spool]:
        """Open what earlier processes left of a PBX, oldest first; what a living one has open is its own."""
        files = sorted(self._files(pbx, kind), key=lambda file: file.name.rsplit(".", 2)[1])
        found, busy = self._opened(files)
        if busy:
            # Another process that begins looks into it for a moment (`names`); one that writes keeps it.
            time.sleep(BUSY_SECONDS)
            found += self._opened(busy)[0]
        return sorted(found, key=lambda spool: files.index(spool.file))

    def _files(self, pbx: str, kind: str) -> list[Path]:
        # Until names stood in the files they stood, quoted, in the files' names.
        old = f"{quote(pbx, safe='').replace('.', '%2E')}.{kind}.*.sqlite"
        return [*self.folder.glob(old), *self.folder.glob(f"{_stem(pbx, kind)}.*.spool")]

    def names(self) -> set[tuple[str, str]]:
        """Return the (pbx, kind) of all spools that are there and that no living process has open."""
        stems = (file.name.rsplit(".", 2)[0] for file in self.folder.glob("*.*.*.sqlite"))
        found = {(unquote(name), kind) for name, _, kind in (stem.rpartition(".") for stem in stems)}
        for spool in self._opened(self.folder.glob("*.*.*.spool"))[0]:
            if spool.about is not None:
                found.add(spool.about)
            spool.close()
        # An operator's copy, such as pbx.ami.1.old.sqlite, is not a spool.
        return {(name, kind) for name, kind in found if kind in KINDS}

    def _opened(self, files: Iterable[Path]) -> tuple[list[Spool], list[Path]]:
        """Open what can be opened, and return what another process has besides."""
        found, busy = list[Spool](), list[Path]()
        for file in files:
            try:
                if file.is_file():
                    found.append(Spool(file))
                elif os.path.lexists(file):  # a pipe would wait for ever
                    self.set_aside(file, "it is no file")
            except UnmadeError:
                remove(file)
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorname", "") == "SQLITE_BUSY":
                    busy.append(file)
                else:
                    self.set_aside(file, str(error))
            except OSError as error:  # of another user, on a disk that takes no writes
                self.set_aside(file, str(error))
        return found, busy

    def set_aside(self, file: Path, why: str) -> None:
        """Leave a file to people; `probe` names it until it is taken away."""
        self._unreadable[file] = why
        logger.error("spool_unreadable", file=str(file), error=why)

    def create(self, pbx: str, kind: str, writer: int) -> Spool:
        """Make a new file. Raises SpoolFullError."""
        return self._create(f"{_stem(pbx, kind)}.{self._stamp()}.spool", writer, (pbx, kind))

    def probe(self, pbx: str, kind: str) -> str:
        """Make a spool, write to it and remove it; return why that does not work, empty if it does.

        A file that an earlier process left and that cannot be read is a reason too, until somebody takes it away.
        """
        for file in self._files(pbx, kind):
            if file in self._unreadable:
                return f"{file.name} cannot be read: {self._unreadable[file]}"
        try:
            # Two containers that share the folder may have the same process number.
            spool = self._create(f"{_stem(pbx, kind)}.{uuid.uuid4().hex}.probe", 0, (pbx, kind))
            try:
                self._forget_leftovers(spool.file.stat().st_mtime)
                spool.put(1, [NewEvent("ringledger", "Probe", None, 0.0, bytes(PROBE_BYTES))])
                spool.cut(-1.0)
            finally:
                spool.close()
        except (OSError, sqlite3.DatabaseError, SpoolFullError) as error:
            return str(error)
        return ""

    def _forget_leftovers(self, now: float) -> None:
        """Remove what killed processes left; ``now`` is the file system's, for our clock may be set back."""
        for file in (*self.folder.glob("*.probe*"), *self.folder.glob("*.new*")):
            with contextlib.suppress(FileNotFoundError):  # another process removes its own, or the same
                if abs(now - file.stat().st_mtime) > STALE_SECONDS:
                    file.unlink()

    def _create(self, name: str, writer: int, about: tuple[str, str]) -> Spool:
        try:
            make_folder(self.folder)
            return make(self.folder / name, writer, *about)
        except (OSError, sqlite3.OperationalError) as error:
            raise SpoolFullError(str(error)) from None

    def _stamp(self) -> int:
        """Return the number of a new file: above those of all files, also after the clock was set back."""
        files = (file for suffix in ("sqlite", "spool") for file in self.folder.glob(f"*.*.*.{suffix}"))
        stamps = (file.name.split(".")[-2] for file in files)
        return max([time.time_ns(), *(int(stamp) + 1 for stamp in stamps if stamp.isdecimal())])


def _stem(pbx: str, kind: str) -> str:
    return f"{hashlib.sha256(pbx.encode()).hexdigest()[:32]}.{kind}"
