"""The files of months that are to leave the log: written, on disk, and found to hold what the log holds."""

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from msgspec import Struct

from schemas.ledger_file import Manifest
from services.runtime.private import make_folder
from services.runtime.progress import Bar
from services.transfer.export_ledger import export_ledger
from services.transfer.ledger_check import check
from services.transfer.ledger_file import LedgerFileError, manifest_of, read, read_manifest


class Month(Struct, frozen=True):
    """A month of the log: its positions, the link before it and its own last one."""

    month: date
    first: int
    last: int
    previous: bytes
    hash: bytes

    @property
    def name(self) -> str:
        """Return it as 2026-10."""
        return f"{self.month:%Y-%m}"


class Written(Struct, frozen=True):
    """A month's file, which holds it whole."""

    month: Month
    file: Path
    manifest: Manifest


def places(months: Sequence[Month], folder: Path) -> list[Path]:
    """Return where the months' files go. Raises LedgerFileError.

    A file that is there already will be replaced if it holds the same month of the same log.
    """
    try:
        make_folder(folder)
    except OSError as error:
        raise LedgerFileError(f"{folder}: {error.strerror}") from None
    files = [folder.absolute() / f"{month.name}.jsonl.zst" for month in months]
    for month, file in zip(months, files, strict=True):
        if file.exists() and not _ours(month, file):
            raise LedgerFileError(f"{file} is there already, and holds something else: give another --output")
    return files


async def write(url: str, months: Sequence[Month], files: Sequence[Path]) -> list[Written]:
    """Write a file for each month, and check it. Raises LedgerFileError, ExportError and OSError."""
    written = []
    for month, file in zip(months, files, strict=True):
        await export_ledger(url, file, None, month.first, month.last)
        for path in (file, manifest_of(file), file.parent):
            _sync(path)
        written.append(Written(month, file, _checked(month, file)))
    return written


def _checked(month: Month, file: Path) -> Manifest:
    with Bar(f"checking {file.name}") as progress:
        m = check(file, progress.show).manifest
    links = month.previous.hex(), month.hash.hex()
    if (m.pbx, m.first, m.last, m.previous, m.hash) != (None, month.first, month.last, *links):
        raise LedgerFileError(f"{file} is not what the log holds of {month.name}")
    return m


def _ours(month: Month, file: Path) -> bool:
    """Tell whether a file is of an earlier run for the same month, one that died before the manifest too."""
    if manifest_of(file).exists():
        manifest = read_manifest(file)
        return (manifest.first, manifest.previous) == (month.first, month.previous.hex())
    line, _ = next(read(file), (None, []))
    return line is not None and (line.first, line.previous) == (month.first, month.previous.hex())


def _sync(path: Path) -> None:
    """Have it on the disk before the log lets go of what it holds."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
