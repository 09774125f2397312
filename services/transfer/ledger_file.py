"""Ledger files: zstd-compressed JSON lines that hold batches of the log whole, and a manifest beside each.

The manifest stands beside the file and not in it: what a file of gigabytes holds can be read without decompressing it,
and ``sha256sum`` checks the file against it. A file without its manifest, or with another's, is refused.
"""

import io
from collections import Counter
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from typing import BinaryIO

import msgspec
import zstandard
from msgspec import UNSET, Struct

from schemas.ledger_file import FORMAT, BatchLine, EventLine, Manifest, NameCount
from schemas.log import Source
from services.log.chain import SALT, Batch, leaf, split
from services.runtime.private import open_private

LEVEL = 3
LONGEST_LINE = 1 << 27
"""A block of 4 MB whose every byte is escaped is 24 MB of JSON."""

_BATCH = msgspec.json.Decoder(BatchLine)
_EVENT = msgspec.json.Decoder(EventLine)
_MANIFEST = msgspec.json.Decoder(Manifest)
_ENCODER = msgspec.json.Encoder()


class LedgerFileError(Exception):
    """The file cannot be imported; the message is one line and says what is wrong with it."""


class Event(Struct, frozen=True, gc=False):
    """One event as the log holds it; times are microseconds since the epoch.

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
        """Return its leaf in the chain."""
        return self.sealed or self.now

    @property
    def now(self) -> bytes:
        """Return the leaf of what it is now; another one than that in the chain if it has been redacted."""
        return leaf(self.salt, self.occurred, self.recorded, self.source, self.name, self.raw)


def manifest_of(file: Path) -> Path:
    """Return where the manifest of a ledger file stands."""
    return file.with_name(f"{file.name}.manifest.json")


class Writer:
    """Writes a ledger file, and its manifest when all batches have been put; both appear when they are whole.

    ``batches`` is how many it has so far.
    """

    def __init__(self, file: Path, pbx: str | None) -> None:
        """Begin to write. Raises OSError."""
        self._file = file
        self._pbx = pbx
        self._part = file.with_name(f"{file.name}.part")
        self._out = open_private(self._part, "w+b")
        self._lines = zstandard.ZstdCompressor(level=LEVEL).stream_writer(self._out, closefd=False)
        self._counts: Counter[tuple[str, Source, str]] = Counter()
        self._first: tuple[int, bytes] | None = None
        self._last: tuple[int, bytes] = 0, b""
        self.batches = 0

    def put(self, batch: Batch, previous: bytes, events: list[Event]) -> None:
        """Write a batch; ``previous`` is the link before it."""
        head = BatchLine(
            batch.first,
            batch.last,
            batch.connection,
            batch.ordinal,
            batch.appended,
            batch.pbx,
            previous.hex(),
            batch.hash.hex(),
            batch.salts,
        )
        lines: list[BatchLine | EventLine] = [head]
        for position, e in enumerate(events, batch.first):
            line = EventLine(position, e.occurred, e.recorded, e.source, e.name)
            try:
                line.text = e.raw.decode()
            except UnicodeDecodeError:
                line.base64 = e.raw
            if e.sealed is not None:
                line.sealed = e.sealed.hex()
            lines.append(line)
            self._counts[batch.pbx, e.source, e.name] += 1
        self._lines.write(_ENCODER.encode_lines(lines))
        self._first = self._first or (batch.first, previous)
        self._last = batch.last, batch.hash
        self.batches += 1

    def finish(self) -> Manifest:
        """Write the manifest, and put both in their places. Raises OSError."""
        assert self._first is not None
        self._lines.flush(zstandard.FLUSH_FRAME)
        self._out.flush()
        self._out.seek(0)
        manifest = Manifest(
            format=FORMAT,
            pbx=self._pbx,
            first=self._first[0],
            last=self._last[0],
            batches=self.batches,
            events=self._counts.total(),
            counts=[NameCount(*kind, count) for kind, count in sorted(self._counts.items())],
            previous=self._first[1].hex(),
            hash=self._last[1].hex(),
            sha256=file_digest(self._out, "sha256").hexdigest(),
            size=self._out.tell(),
        )
        self._out.close()
        beside = manifest_of(self._part)
        with open_private(beside, "wb") as out:
            out.write(msgspec.json.format(_ENCODER.encode(manifest), indent=1) + b"\n")
        self._part.replace(self._file)
        beside.replace(manifest_of(self._file))
        return manifest

    def discard(self) -> None:
        """Leave nothing behind of a file that was not finished."""
        self._out.close()
        self._part.unlink(missing_ok=True)
        manifest_of(self._part).unlink(missing_ok=True)


def read_manifest(file: Path) -> Manifest:
    """Return what the manifest beside ``file`` says. Raises LedgerFileError."""
    beside = manifest_of(file)
    try:
        manifest = _MANIFEST.decode(beside.read_bytes())
    except OSError as error:
        raise LedgerFileError(f"{beside if file.exists() else file}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LedgerFileError(f"{beside} is damaged: {error}") from None
    if manifest.format != FORMAT:
        raise LedgerFileError(f"{beside}: format {manifest.format} is not the one this program knows, {FORMAT}")
    return manifest


def read(file: Path) -> Iterator[tuple[BatchLine, list[Event]]]:
    """Yield the batches of a ledger file, as far as they are there. Raises LedgerFileError with the line's number."""
    with file.open("rb") as compressed:
        lines = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(compressed, closefd=False), 1 << 20)
        yield from _batches(lines, file)


def _batches(lines: BinaryIO, file: Path) -> Iterator[tuple[BatchLine, list[Event]]]:
    number = 0
    try:
        while line := lines.readline(LONGEST_LINE):
            number += 1
            head = _BATCH.decode(line)
            if head.last < head.first:
                raise ValueError("it ends before it begins")  # noqa: TRY301 (said with the line's number below)
            if len(head.salts) != (head.last - head.first + 1) * SALT:
                raise ValueError("it has more or less salts than events")  # noqa: TRY301
            events: list[Event] = []
            for position, salt in enumerate(split(head.salts, SALT), head.first):
                number += 1
                events.append(_event(lines.readline(LONGEST_LINE), position, salt))
            yield head, events
    except zstandard.ZstdError as error:
        raise LedgerFileError(f"{file}: cannot be decompressed after line {number}: {error}") from None
    except (ValueError, msgspec.MsgspecError) as error:
        raise LedgerFileError(f"{file}: line {number}: {error}") from None


def _event(line: bytes, position: int, salt: bytes) -> Event:
    if not line:
        raise ValueError(f"the file ends where event {position} should stand")
    e = _EVENT.decode(line)
    if e.position != position:
        raise ValueError(f"event {e.position} stands where {position} should")
    if e.text is not UNSET and e.base64 is UNSET:
        raw = e.text.encode()
    elif e.base64 is not UNSET and e.text is UNSET:
        raw = e.base64
    else:
        raise ValueError(f"event {position} must have either text or base64")
    sealed = None if e.sealed is UNSET else bytes.fromhex(e.sealed)
    return Event(salt, e.occurred, e.recorded, e.source, e.name, raw, sealed)
