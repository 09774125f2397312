"""Checks a ledger file whole, before anything of it is believed: bytes, lines, leaves, links and manifest."""

from collections import Counter
from collections.abc import Callable, Collection
from hashlib import file_digest
from pathlib import Path

from msgspec import Struct

from schemas.ledger_file import BatchLine, Manifest
from services.log.chain import Batch
from services.log.redactions import Leaves, RedactionError, collect
from services.transfer.ledger_file import Event, LedgerFileError, manifest_of, read, read_manifest


class Checked(Struct, frozen=True):
    """A file that is what its manifest says; ``spans`` are the ordinals of each (pbx, connection) in it.

    ``redacted`` are the leaves of redacted events, ``said`` its events Redacted as `redactions.collect` takes them,
    ``hashes`` the links at the positions that were asked for, where a batch ends there.
    """

    path: Path
    manifest: Manifest
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    redacted: dict[int, Leaves] = {}
    said: list[tuple[int, str, int, bytes]] = []
    hashes: dict[int, bytes] = {}


def batch_of(line: BatchLine, events: list[Event]) -> Batch:
    """Make the batch that the log holds, leaves computed anew."""
    return Batch(
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


def check(path: Path, show: Callable[[int, int], None], marks: Collection[int] = ()) -> Checked:
    """Read all of a file. Raises LedgerFileError: nothing of such a file may be imported."""
    manifest = read_manifest(path)
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LedgerFileError(f"{path}: {error.strerror}") from None
    if digest != manifest.sha256:
        raise LedgerFileError(f"{path}: its SHA-256 is not the one in {manifest_of(path)}")
    return _read(Checked(path, manifest), show, marks)


def _read(checked: Checked, show: Callable[[int, int], None], marks: Collection[int]) -> Checked:
    path, manifest = checked.path, checked.manifest
    spans, redacted, said_of = checked.spans, checked.redacted, checked.said
    counts: Counter[tuple[str, str, str]] = Counter()
    batches, last, before = 0, manifest.first - 1, manifest.previous
    for line, events in read(path):
        where = f"{path}: batch {line.first} to {line.last}"
        if line.first <= last or (manifest.pbx is None and line.first != last + 1):
            raise LedgerFileError(f"{where} follows {last}")
        if manifest.pbx not in {None, line.pbx}:
            raise LedgerFileError(f"{where} is of {line.pbx!r}")
        if (manifest.pbx is None or not batches) and line.previous != before:
            raise LedgerFileError(f"{where} does not follow in the chain on what stands before it")
        if batch_of(line, events).link(bytes.fromhex(line.previous)).hex() != line.hash:
            raise LedgerFileError(f"{where} is not what was sealed: its link does not fit")
        begun, done = spans.get((line.pbx, line.connection), (line.ordinal, line.ordinal - 1))
        if line.ordinal != done + 1:
            raise LedgerFileError(f"{where}: ordinal {line.ordinal} of {line.pbx}/{line.connection} follows {done}")
        spans[line.pbx, line.connection] = begun, done + len(events)
        for position, e in enumerate(events, line.first):
            if e.sealed is not None:
                redacted[position] = e.sealed, e.now
            if (e.source, e.name) == ("ringledger", "Redacted"):
                said_of.append((position, line.pbx, e.recorded, e.raw))
        counts.update((line.pbx, e.source, e.name) for e in events)
        batches, last, before = batches + 1, line.last, line.hash
        if last in marks:
            checked.hashes[last] = bytes.fromhex(before)
        show(counts.total(), manifest.events)
    held = batches, counts.total(), last, before, counts
    said = {(c.pbx, c.source, c.name): c.count for c in manifest.counts}
    if held != (manifest.batches, manifest.events, manifest.last, manifest.hash, said):
        raise LedgerFileError(f"{manifest_of(path)} tells of other batches or events than {path.name} holds")
    _check_redacted(path, redacted, said_of)
    return checked


def _check_redacted(path: Path, redacted: dict[int, Leaves], said: list[tuple[int, str, int, bytes]]) -> None:
    """Hold events that are not what was sealed against what is said of them, where this file reaches so far."""
    try:
        leaves = collect(said).leaves
    except RedactionError as error:
        raise LedgerFileError(f"{path}: {error}") from None
    for position, is_ in sorted(redacted.items()):
        if leaves.get(position, is_) != is_:
            raise LedgerFileError(f"{path}: event {position} is not what its redaction says")
