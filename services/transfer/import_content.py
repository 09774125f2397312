"""Reads whole files before anything is imported: their kind, content and damage."""

from collections.abc import Iterator, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Literal

from msgspec import Struct

from services.runtime.progress import ProgressBar
from services.transfer.ami_blocks import read_blocks
from services.transfer.asterisk_files import AsteriskFileError, Columns, CsvKind, CsvRecord, Damage, read_records

FileKind = Literal["ami"] | CsvKind

HINT = "--skip-damaged imports the rest and lists what it skips"


class Content(Struct, frozen=True):
    """A file that was read completely; ``is_local``: it has times without a zone.

    ``damage`` lists the skipped records, or has the value None if damaged records are errors. ``columns`` are those of
    a CEL csv. ``first`` is the time of the first record of a CEL csv or queue_log, 0 for other files.
    """

    path: Path
    kind: FileKind
    sha256: str
    events: int
    is_local: bool
    damage: Damage | None = None
    columns: Columns = ()
    first: float = 0.0

    @property
    def damage_sink(self) -> Damage | None:
        """Return a list for the damage found by another reading of the file."""
        return None if self.damage is None else []

    @property
    def connection(self) -> int:
        """Return the number of the connection for its events."""
        return int(self.sha256[:16], 16) >> 1


def csv_records(content: Content) -> Iterator[CsvRecord]:
    """Read the records of a file of lines again."""
    assert content.kind != "ami"
    return read_records(content.path, content.kind, content.damage_sink, content.columns)


def read_content(path: Path, kind: FileKind, *, skip_damaged: bool = False, columns: Columns = ()) -> Content:
    """Read a whole file. Raises AsteriskFileError if it is not of that kind until its end."""
    count, is_local, first = 0, False, 0.0
    damage: Damage | None = [] if skip_damaged else None
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        if kind == "ami":
            count = sum(1 for _ in read_blocks(path, 0.0, damage))
        else:
            for record in read_records(path, kind, damage, columns):
                if not count and kind != "cdr_csv":
                    first = record.local_end if record.at is None else record.at
                count += 1
                is_local |= record.at is None
    except OSError as error:
        raise AsteriskFileError(f"{path}: {error.strerror}") from None
    except AsteriskFileError as error:
        raise AsteriskFileError(f"{error}; {HINT}") from None
    if not count:
        raise AsteriskFileError(f"{path} contains no intact record" if damage else f"{path} is empty")
    return Content(path, kind, digest, count, is_local, damage, columns, first)


def read_contents(
    paths: Sequence[Path], kind: FileKind, *, skip_damaged: bool = False, columns: Columns = ()
) -> list[Content]:
    """Read all files completely, and return the parts of a rotated log in the order of time.

    Raises AsteriskFileError.
    """
    with ProgressBar("checking") as progress:
        contents: list[Content] = []
        for path in paths:
            contents.append(read_content(path, kind, skip_damaged=skip_damaged, columns=columns))
            progress.show(len(contents), len(paths))
    return sorted(contents, key=lambda content: content.first)
