"""Checks archived months: the rows of ``ledger.archive``, the Archived events in the log, and the files."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from schemas.log import Archived
from services.integrity.compare import EventKind
from services.integrity.damage import BatchBoundary, DamageError
from services.log.archives import Archive, ArchiveCatalog
from services.log.chain import ZERO_LINK
from services.log.redactions import Leaves, collect
from services.runtime.progress import ProgressBar
from services.transfer.ledger_check import CheckedFile, check_file

ARCHIVED_EVENTS = """
SELECT position, raw FROM ledger.event WHERE source = 'ringledger' AND name = 'Archived' ORDER BY position
"""


class StrayFileError(Exception):
    """A file does not belong to an archived month of this log; the message is one line."""


def check_rows(catalog: ArchiveCatalog, events: Iterable[Sequence[object]]) -> None:
    """Check that the rows form a chain and match the Archived events. Raises DamageError."""
    end = BatchBoundary(0, ZERO_LINK)
    for archive in catalog.archives:
        if (archive.first, archive.previous) != (end.position + 1, end.hash):
            reason = f"{archive.month} does not follow position {end.position}"
            raise DamageError("altered", "archive", archive.first, reason)
        end = BatchBoundary(archive.last, archive.hash)
    by_month: dict[str, Archived] = {}
    for position, raw in events:
        assert isinstance(raw, bytes)
        try:
            event = msgspec.json.decode(raw, type=Archived)
        except msgspec.MsgspecError:
            continue  # The walk along the chain reports the damage.
        if event.position == position:  # Otherwise the event was imported from another log.
            by_month[event.month] = event
    for archive in catalog.archives:
        recorded = by_month.get(archive.month)
        if recorded is not None and _event_of(archive, recorded.position) != recorded:
            reason = f"{archive.month} differs from the Archived event at {recorded.position}"
            raise DamageError("altered", "archive", archive.first, reason)
    # The event of the last month is never archived itself; without it anyone could have written this row.
    if catalog and (last := catalog.archives[-1]).month not in by_month:
        raise DamageError("inserted", "archive", last.first, f"the log has no Archived event for {last.month}")


def _event_of(archive: Archive, position: int) -> Archived:
    links = archive.previous.hex(), archive.hash.hex()
    return Archived(position, archive.month, archive.first, archive.last, *links, archive.file, archive.sha256.hex())


def count_events(catalog: ArchiveCatalog) -> Counter[EventKind]:
    """Return the number of archived events of each kind."""
    total: Counter[EventKind] = Counter()
    for archive in catalog.archives:
        for pbx, source, name, count in msgspec.json.decode(archive.counts, type=list[tuple[str, str, str, int]]):
            total[pbx, source, name] += count
    return total


def check_files(
    catalog: ArchiveCatalog, paths: Sequence[Path], redacted: Sequence[Sequence[object]], marks: Collection[int] = ()
) -> dict[str, CheckedFile]:
    """Check files of archived months completely, and against their rows; return them by month.

    ``redacted`` are the log's Redacted events. Raises StrayFileError, LedgerFileError and DamageError.
    """
    files: dict[str, CheckedFile] = {}
    with ProgressBar("checking") as progress:
        for path in paths:
            file = check_file(path, progress.show, marks)
            archive = next((a for a in catalog.archives if a.first == file.manifest.first), None)
            if archive is None:
                raise StrayFileError(f"{path} contains no archived month of this log")
            _check_manifest(archive, file)
            files[archive.month] = file
    events: list[Sequence[object]] = list(redacted)
    for archive in reversed(catalog.archives):
        if archive.month not in files:
            break  # That file may contain the Redacted events of the months before it.
        events = [*files[archive.month].redacted_events, *events]
        _check_redacted(archive, files[archive.month], collect(events).leaves)
    return files


def _check_manifest(archive: Archive, file: CheckedFile) -> None:
    m = file.manifest
    links = archive.previous.hex(), archive.hash.hex(), archive.sha256.hex()
    if (m.pbx, m.first, m.last, m.previous, m.hash, m.sha256) != (None, archive.first, archive.last, *links):
        reason = f"{file.path} is not the file that was archived as {archive.file}"
        raise DamageError("altered", "archive", archive.first, reason)


def _check_redacted(archive: Archive, file: CheckedFile, leaves: Mapping[int, Leaves]) -> None:
    expected = {position: both for position, both in leaves.items() if archive.first <= position <= archive.last}
    for position in sorted(expected.keys() | file.redacted.keys()):
        if expected.get(position) != file.redacted.get(position):
            reason = f"{file.path} differs from its redaction, or from what was sealed"
            raise DamageError("altered", "event", position, reason)


def summary_line(catalog: ArchiveCatalog, checked: Collection[str]) -> str:
    """Return one line about the archived months and the files that were not checked."""
    months = " to ".join(dict.fromkeys((catalog.archives[0].month, catalog.archives[-1].month)))
    line = f"archived: {months}, until position {catalog.position}, hash {catalog.hash.hex()}; "
    unchecked = [archive for archive in catalog.archives if archive.month not in checked]
    if not unchecked:
        return line + ("its file matches" if len(checked) == 1 else f"{len(checked)} files match")
    return line + f"not checked: {', '.join(archive.file for archive in unchecked)}"
