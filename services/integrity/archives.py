"""Holds archived months against the log: their rows in ``ledger.archive`` against each other, events and files."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from schemas.log import Archived
from services.integrity.compare import Kind
from services.integrity.damage import DamageError, Place
from services.log.archives import Archive, ArchiveCatalog
from services.log.chain import ZERO_LINK
from services.log.redactions import Leaves, collect
from services.runtime.progress import Bar
from services.transfer.ledger_check import Checked, check

READ = """
SELECT position, raw FROM ledger.event WHERE source = 'ringledger' AND name = 'Archived' ORDER BY position
"""


class StrayFileError(Exception):
    """A file is of no month that is archived here; the message is one line."""


def rows(edge: ArchiveCatalog, events: Iterable[Sequence[object]]) -> None:
    """Check that the rows chain among themselves, and that the events Archived say the same. Raises DamageError."""
    before = Place(0, ZERO_LINK)
    for archive in edge.archives:
        if (archive.first, archive.previous) != (before.position + 1, before.hash):
            why = f"{archive.month} does not follow on position {before.position}"
            raise DamageError("altered", "archive", archive.first, why)
        before = Place(archive.last, archive.hash)
    told: dict[str, Archived] = {}
    for position, raw in events:
        assert isinstance(raw, bytes)
        try:
            said = msgspec.json.decode(raw, type=Archived)
        except msgspec.MsgspecError:
            continue  # the chain tells what was done to it
        if said.position == position:  # else it tells of the log that it was imported from
            told[said.month] = said
    for archive in edge.archives:
        event = told.get(archive.month)
        if event is not None and _said(archive, event.position) != event:
            why = f"{archive.month} is not what the event Archived at {event.position} says"
            raise DamageError("altered", "archive", archive.first, why)
    # The event of the last month is never archived itself: without it anybody could have written this row.
    if edge and (last := edge.archives[-1]).month not in told:
        raise DamageError("inserted", "archive", last.first, f"no event Archived says so of {last.month}")


def _said(archive: Archive, position: int) -> Archived:
    links = archive.previous.hex(), archive.hash.hex()
    return Archived(position, archive.month, archive.first, archive.last, *links, archive.file, archive.sha256.hex())


def counts(edge: ArchiveCatalog) -> Counter[Kind]:
    """Return how often each event came in what is archived."""
    found: Counter[Kind] = Counter()
    for archive in edge.archives:
        for pbx, source, name, count in msgspec.json.decode(archive.counts, type=list[tuple[str, str, str, int]]):
            found[pbx, source, name] += count
    return found


def files(
    edge: ArchiveCatalog, paths: Sequence[Path], redacted: Sequence[Sequence[object]], marks: Collection[int] = ()
) -> dict[str, Checked]:
    """Check files of archived months, by month, each whole and against its row.

    ``redacted`` are the log's events Redacted. Raises StrayFileError, LedgerFileError and DamageError.
    """
    found: dict[str, Checked] = {}
    with Bar("checking") as progress:
        for path in paths:
            checked = check(path, progress.show, marks)
            archive = next((a for a in edge.archives if a.first == checked.manifest.first), None)
            if archive is None:
                raise StrayFileError(f"{path} holds no month that is archived here")
            _hold(archive, checked)
            found[archive.month] = checked
    said: list[Sequence[object]] = list(redacted)
    for archive in reversed(edge.archives):
        if archive.month not in found:
            break  # how what stands before was redacted may be told there
        said = [*found[archive.month].said, *said]
        _hold_redacted(archive, found[archive.month], collect(said).leaves)
    return found


def _hold(archive: Archive, checked: Checked) -> None:
    m = checked.manifest
    links = archive.previous.hex(), archive.hash.hex(), archive.sha256.hex()
    if (m.pbx, m.first, m.last, m.previous, m.hash, m.sha256) != (None, archive.first, archive.last, *links):
        why = f"{checked.path} is not the file that was archived as {archive.file}"
        raise DamageError("altered", "archive", archive.first, why)


def _hold_redacted(archive: Archive, checked: Checked, leaves: Mapping[int, Leaves]) -> None:
    told = {position: both for position, both in leaves.items() if archive.first <= position <= archive.last}
    for position in sorted(told.keys() | checked.redacted.keys()):
        if told.get(position) != checked.redacted.get(position):
            why = f"{checked.path} holds something else than its redaction says, or than was sealed"
            raise DamageError("altered", "event", position, why)


def told(edge: ArchiveCatalog, checked: Collection[str]) -> str:
    """Say in one line what is archived, and of which months no file was looked at."""
    months = " to ".join(dict.fromkeys((edge.archives[0].month, edge.archives[-1].month)))
    said = f"archived: {months}, up to position {edge.position}, hash {edge.hash.hex()}; "
    left = [archive for archive in edge.archives if archive.month not in checked]
    if not left:
        return said + ("its file holds it" if len(checked) == 1 else f"{len(checked)} files hold it")
    return said + f"not checked: {', '.join(archive.file for archive in left)}"
