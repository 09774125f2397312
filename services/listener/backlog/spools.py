"""The folder of all spools of this machine: their names, their discovery, and a probe of the disk."""

import contextlib
import hashlib
import os
import sqlite3
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote

import structlog

from schemas.log import NewEvent
from services.listener.backlog.spool import IncompleteSpoolError, Spool, SpoolFullError, create_spool, remove_spool
from services.runtime.private import make_folder

KINDS = ("ami", "ari")
PROBE_BYTES = 1 << 16
STALE_SECONDS = 600.0
"""A probe or an incomplete file of this age belongs to a killed process."""
BUSY_RETRY_SECONDS = 0.2

logger = structlog.get_logger()


class Spools:
    """The folder, and ``limit``: how many bytes one PBX's spools may have together before reading stops."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._unreadable: dict[Path, str] = {}

    def open_inherited(self, pbx: str, kind: str) -> list[Spool]:
        """Open the spools that earlier processes left of a PBX, oldest first, except those that another process has."""
        files = sorted(self._files(pbx, kind), key=lambda file: file.name.rsplit(".", 2)[1])
        spools, busy = self._open(files)
        if busy:
            # Another process that starts opens it for a moment (`owners`); a process that writes keeps it open.
            time.sleep(BUSY_RETRY_SECONDS)
            spools += self._open(busy)[0]
        return sorted(spools, key=lambda spool: files.index(spool.file))

    def _files(self, pbx: str, kind: str) -> list[Path]:
        # Older programs put the quoted name of the PBX into the file's name.
        old = f"{quote(pbx, safe='').replace('.', '%2E')}.{kind}.*.sqlite"
        return [*self.folder.glob(old), *self.folder.glob(f"{_stem(pbx, kind)}.*.spool")]

    def owners(self) -> set[tuple[str, str]]:
        """Return the (pbx, kind) of all spools that no running process has open."""
        stems = (file.name.rsplit(".", 2)[0] for file in self.folder.glob("*.*.*.sqlite"))
        owners = {(unquote(name), kind) for name, _, kind in (stem.rpartition(".") for stem in stems)}
        for spool in self._open(self.folder.glob("*.*.*.spool"))[0]:
            if spool.about is not None:
                owners.add(spool.about)
            spool.close()
        # An operator's copy, such as pbx.ami.1.old.sqlite, is not a spool.
        return {(name, kind) for name, kind in owners if kind in KINDS}

    def _open(self, files: Iterable[Path]) -> tuple[list[Spool], list[Path]]:
        """Open the files, and return the spools, and the files that another process has open."""
        spools, busy = list[Spool](), list[Path]()
        for file in files:
            try:
                if file.is_file():
                    spools.append(Spool(file))
                elif os.path.lexists(file):  # opening a pipe would block forever
                    self.quarantine(file, "it is not a file")
            except IncompleteSpoolError:
                remove_spool(file)
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorname", "") == "SQLITE_BUSY":
                    busy.append(file)
                else:
                    self.quarantine(file, str(error))
            except OSError as error:  # of another user, on a read-only disk
                self.quarantine(file, str(error))
        return spools, busy

    def quarantine(self, file: Path, reason: str) -> None:
        """Leave an unreadable file for an operator; `probe` reports it until it is removed."""
        self._unreadable[file] = reason
        logger.error("spool_unreadable", file=str(file), error=reason)

    def create(self, pbx: str, kind: str, writer: int) -> Spool:
        """Create a new file. Raises SpoolFullError."""
        return self._create(f"{_stem(pbx, kind)}.{self._stamp()}.spool", writer, (pbx, kind))

    def probe(self, pbx: str, kind: str) -> str:
        """Create a spool, write to it and remove it; return why that fails, empty if it works.

        An unreadable file of an earlier process is a reason too, until an operator removes it.
        """
        for file in self._files(pbx, kind):
            if file in self._unreadable:
                return f"{file.name} cannot be read: {self._unreadable[file]}"
        try:
            # Two containers that share the folder may have the same process id.
            spool = self._create(f"{_stem(pbx, kind)}.{uuid.uuid4().hex}.probe", 0, (pbx, kind))
            try:
                self._remove_stale(spool.file.stat().st_mtime)
                spool.put(1, [NewEvent("ringledger", "Probe", None, 0.0, bytes(PROBE_BYTES))])
                spool.discard_after(-1.0)
            finally:
                spool.close()
        except (OSError, sqlite3.DatabaseError, SpoolFullError) as error:
            return str(error)
        return ""

    def _remove_stale(self, now: float) -> None:
        """Remove the leftovers of killed processes; ``now`` is by the file system's clock; another may be set back."""
        for file in (*self.folder.glob("*.probe*"), *self.folder.glob("*.new*")):
            with contextlib.suppress(FileNotFoundError):  # another process may remove the same file
                if abs(now - file.stat().st_mtime) > STALE_SECONDS:
                    file.unlink()

    def _create(self, name: str, writer: int, about: tuple[str, str]) -> Spool:
        try:
            make_folder(self.folder)
            return create_spool(self.folder / name, writer, *about)
        except (OSError, sqlite3.OperationalError) as error:
            raise SpoolFullError(str(error)) from None

    def _stamp(self) -> int:
        """Return the number of a new file: above those of all files, even after the clock was set back."""
        files = (file for suffix in ("sqlite", "spool") for file in self.folder.glob(f"*.*.*.{suffix}"))
        stamps = (file.name.split(".")[-2] for file in files)
        return max([time.time_ns(), *(int(stamp) + 1 for stamp in stamps if stamp.isdecimal())])


def _stem(pbx: str, kind: str) -> str:
    return f"{hashlib.sha256(pbx.encode()).hexdigest()[:32]}.{kind}"
