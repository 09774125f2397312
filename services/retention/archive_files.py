"""Writes months of the log to ledger files, syncs them to disk and compares them with the log."""

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from msgspec import Struct

from schemas.ledger_file import Manifest
from services.runtime.private import make_folder
from services.runtime.progress import ProgressBar
from services.transfer.export_ledger import export_ledger
from services.transfer.ledger_check import check_file
from services.transfer.ledger_file import LedgerFileError, manifest_path, read_batches, read_manifest


class Month(Struct, frozen=True):
    """A month of the log: its positions, and the links before its first and after its last batch."""

    month: date
    first: int
    last: int
    previous: bytes
    hash: bytes

    @property
    def name(self) -> str:
        """Return the month as text, for example 2026-10."""
        return f"{self.month:%Y-%m}"


class ArchiveFile(Struct, frozen=True):
    """A file that contains a whole month."""

    month: Month
    path: Path
    manifest: Manifest


def file_paths(months: Sequence[Month], folder: Path) -> list[Path]:
    """Return the paths of the months' files, and create the folder. Raises LedgerFileError.

    An existing file is replaced later if it contains the same month of the same log; otherwise it is an error.
    """
    try:
        make_folder(folder)
    except OSError as error:
        raise LedgerFileError(f"{folder}: {error.strerror}") from None
    paths = [folder.absolute() / f"{month.name}.jsonl.zst" for month in months]
    for month, path in zip(months, paths, strict=True):
        if path.exists() and not _is_of_month(month, path):
            raise LedgerFileError(f"{path} exists and contains something else; choose another --output")
    return paths


async def write_files(url: str, months: Sequence[Month], paths: Sequence[Path]) -> list[ArchiveFile]:
    """Write and check a file for each month. Raises LedgerFileError, ExportError and OSError."""
    files = []
    for month, path in zip(months, paths, strict=True):
        await export_ledger(url, path, None, month.first, month.last)
        for written in (path, manifest_path(path), path.parent):
            _sync(written)
        files.append(ArchiveFile(month, path, _check(month, path)))
    return files


def _check(month: Month, path: Path) -> Manifest:
    with ProgressBar(f"checking {path.name}") as progress:
        m = check_file(path, progress.show).manifest
    links = month.previous.hex(), month.hash.hex()
    if (m.pbx, m.first, m.last, m.previous, m.hash) != (None, month.first, month.last, *links):
        raise LedgerFileError(f"{path} does not match {month.name} in the log")
    return m


def _is_of_month(month: Month, path: Path) -> bool:
    """Return whether an earlier run wrote the file for this month; that run may have died before the manifest."""
    if manifest_path(path).exists():
        manifest = read_manifest(path)
        return (manifest.first, manifest.previous) == (month.first, month.previous.hex())
    line, _ = next(read_batches(path), (None, []))
    return line is not None and (line.first, line.previous) == (month.first, month.previous.hex())


def _sync(path: Path) -> None:
    """Sync a file or folder to disk, before its content leaves the log."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
