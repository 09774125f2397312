"""Checks a whole ledger file before any of it is imported: bytes, lines, leaves, links and manifest."""

from collections import Counter
from collections.abc import Callable, Collection
from hashlib import file_digest
from pathlib import Path

from msgspec import Struct

from schemas.ledger_file import BatchLine, Manifest
from services.log.chain import SealedBatch
from services.log.redactions import Leaves, RedactionError, collect
from services.transfer.ledger_file import FileEvent, LedgerFileError, manifest_path, read_batches, read_manifest

RedactedEvent = tuple[int, str, int, bytes]
"""A Redacted event for `services.log.redactions.collect`: position, PBX, time of recording, bytes."""


class CheckedFile(Struct, frozen=True):
    """A file that matches its manifest; ``spans`` are the first and last ordinal of each (pbx, connection) in it.

    ``redacted`` has the leaves of redacted events by position, ``redacted_events`` the Redacted events, and ``hashes``
    the links at the marked positions where a batch ends.
    """

    path: Path
    manifest: Manifest
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    redacted: dict[int, Leaves] = {}
    redacted_events: list[RedactedEvent] = []
    hashes: dict[int, bytes] = {}


def batch_of(line: BatchLine, events: list[FileEvent]) -> SealedBatch:
    """Return the batch as in the log, with recomputed leaves."""
    return SealedBatch(
        line.first,
        line.last,
        line.connection,
        line.ordinal,
        line.appended,
        min(e.recorded for e in events),
        line.pbx,
        bytes.fromhex(line.hash),
        b"".join([e.leaf for e in events]),
        line.salts,
    )


def check_file(path: Path, on_progress: Callable[[int, int], None], marks: Collection[int] = ()) -> CheckedFile:
    """Check a whole file. Raises LedgerFileError; then no part of it may be imported."""
    manifest = read_manifest(path)
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LedgerFileError(f"{path}: {error.strerror}") from None
    if digest != manifest.sha256:
        raise LedgerFileError(f"{path}: its SHA-256 is not the one in {manifest_path(path)}")
    return _check_batches(CheckedFile(path, manifest), on_progress, marks)


def _check_batches(file: CheckedFile, on_progress: Callable[[int, int], None], marks: Collection[int]) -> CheckedFile:
    path, manifest = file.path, file.manifest
    counts: Counter[tuple[str, str, str]] = Counter()
    batches, last, link = 0, manifest.first - 1, manifest.previous
    for line, events in read_batches(path):
        where = f"{path}: batch {line.first} to {line.last}"
        if line.first <= last or (manifest.pbx is None and line.first != last + 1):
            raise LedgerFileError(f"{where} follows position {last}")
        if manifest.pbx not in {None, line.pbx}:
            raise LedgerFileError(f"{where} is of {line.pbx!r}")
        if (manifest.pbx is None or not batches) and line.previous != link:
            raise LedgerFileError(f"{where} does not follow the batch before it in the chain")
        if batch_of(line, events).link(bytes.fromhex(line.previous)).hex() != line.hash:
            raise LedgerFileError(f"{where} is not what was sealed: its link does not match")
        first_ordinal, last_ordinal = file.spans.get((line.pbx, line.connection), (line.ordinal, line.ordinal - 1))
        if line.ordinal != last_ordinal + 1:
            writer = f"{line.pbx}/{line.connection}"
            raise LedgerFileError(f"{where}: ordinal {line.ordinal} of {writer} follows {last_ordinal}")
        file.spans[line.pbx, line.connection] = first_ordinal, last_ordinal + len(events)
        for position, e in enumerate(events, line.first):
            if e.sealed is not None:
                file.redacted[position] = e.sealed, e.present_leaf
            if (e.source, e.name) == ("ringledger", "Redacted"):
                file.redacted_events.append((position, line.pbx, e.recorded, e.raw))
        counts.update((line.pbx, e.source, e.name) for e in events)
        batches, last, link = batches + 1, line.last, line.hash
        if last in marks:
            file.hashes[last] = bytes.fromhex(link)
        on_progress(counts.total(), manifest.events)
    contents = batches, counts.total(), last, link, counts
    manifest_counts = {(c.pbx, c.source, c.name): c.count for c in manifest.counts}
    if contents != (manifest.batches, manifest.events, manifest.last, manifest.hash, manifest_counts):
        raise LedgerFileError(f"{manifest_path(path)} lists other batches or events than {path.name} contains")
    _check_redacted(file)
    return file


def _check_redacted(file: CheckedFile) -> None:
    """Compare redacted events with the Redacted events, as far as the file contains these."""
    try:
        leaves = collect(file.redacted_events).leaves
    except RedactionError as error:
        raise LedgerFileError(f"{file.path}: {error}") from None
    for position, present in sorted(file.redacted.items()):
        if leaves.get(position, present) != present:
            raise LedgerFileError(f"{file.path}: event {position} differs from its redaction")
