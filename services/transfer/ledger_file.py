"""Reads ledger files: zstd-compressed JSON lines with whole batches of the log, and a manifest beside each file.

The manifest is a separate file, so that the contents of gigabytes are known without decompression and ``sha256sum`` can
check the file. A file without its manifest, or with that of another file, is refused.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import zstandard
from msgspec import UNSET, Struct

from schemas.ledger_file import FORMAT, BatchLine, EventLine, Manifest
from schemas.log import Source
from services.log.chain import SALT_BYTES, leaf, split

MAX_LINE_BYTES = 1 << 27
"""A block of 4 MB with every byte escaped is 24 MB of JSON."""

_BATCH = msgspec.json.Decoder(BatchLine)
_EVENT = msgspec.json.Decoder(EventLine)
_MANIFEST = msgspec.json.Decoder(Manifest)


class LedgerFileError(Exception):
    """The file cannot be imported; the message is one line with the reason."""


class FileEvent(Struct, frozen=True, gc=False):
    """One event; times are microseconds since the epoch.

    ``sealed`` is the leaf that it was appended with, if it has been redacted since.
    """

    salt: bytes
    occurred: int | None
    recorded: int
    source: Source
    name: str
    raw: bytes
    sealed: bytes | None = None

    @property
    def leaf(self) -> bytes:
        """Return the event's leaf in the chain."""
        return self.sealed or self.present_leaf

    @property
    def present_leaf(self) -> bytes:
        """Return the leaf of the present bytes; it differs from that in the chain after a redaction."""
        return leaf(self.salt, self.occurred, self.recorded, self.source, self.name, self.raw)


def manifest_path(file: Path) -> Path:
    """Return the path of a ledger file's manifest."""
    return file.with_name(f"{file.name}.manifest.json")


def read_manifest(file: Path) -> Manifest:
    """Return the manifest of ``file``. Raises LedgerFileError."""
    path = manifest_path(file)
    try:
        manifest = _MANIFEST.decode(path.read_bytes())
    except OSError as error:
        raise LedgerFileError(f"{path if file.exists() else file}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LedgerFileError(f"{path} is damaged: {error}") from None
    if manifest.format != FORMAT:
        raise LedgerFileError(f"{path}: format {manifest.format} is not supported; this program reads {FORMAT}")
    return manifest


def read_batches(file: Path) -> Iterator[tuple[BatchLine, list[FileEvent]]]:
    """Yield the batches of a ledger file. Raises LedgerFileError with the number of the line."""
    with file.open("rb") as compressed:
        lines = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(compressed, closefd=False), 1 << 20)
        yield from _parse_batches(lines, file)


def _parse_batches(lines: BinaryIO, file: Path) -> Iterator[tuple[BatchLine, list[FileEvent]]]:
    number = 0
    try:
        while line := lines.readline(MAX_LINE_BYTES):
            number += 1
            head = _BATCH.decode(line)
            if head.last < head.first:
                raise ValueError("the batch ends before it starts")  # noqa: TRY301 (the handler adds the line number)
            if len(head.salts) != (head.last - head.first + 1) * SALT_BYTES:
                raise ValueError("the batch has more or fewer salts than events")  # noqa: TRY301
            events: list[FileEvent] = []
            for position, salt in enumerate(split(head.salts, SALT_BYTES), head.first):
                number += 1
                events.append(_parse_event(lines.readline(MAX_LINE_BYTES), position, salt))
            yield head, events
    except zstandard.ZstdError as error:
        raise LedgerFileError(f"{file}: cannot be decompressed after line {number}: {error}") from None
    except (ValueError, msgspec.MsgspecError) as error:
        raise LedgerFileError(f"{file}: line {number}: {error}") from None


def _parse_event(line: bytes, position: int, salt: bytes) -> FileEvent:
    if not line:
        raise ValueError(f"the file ends before event {position}")
    e = _EVENT.decode(line)
    if e.position != position:
        raise ValueError(f"event {e.position} is in the place of {position}")
    if e.text is not UNSET and e.base64 is UNSET:
        raw = e.text.encode()
    elif e.base64 is not UNSET and e.text is UNSET:
        raw = e.base64
    else:
        raise ValueError(f"event {position} must have either text or base64")
    sealed = None if e.sealed is UNSET else bytes.fromhex(e.sealed)
    return FileEvent(salt, e.occurred, e.recorded, e.source, e.name, raw, sealed)
