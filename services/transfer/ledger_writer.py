"""Writes ledger files and their manifests."""

from collections import Counter
from hashlib import file_digest
from pathlib import Path

import msgspec
import zstandard

from schemas.ledger_file import FORMAT, BatchLine, EventLine, Manifest, NameCount
from schemas.log import Source
from services.log.chain import SealedBatch
from services.runtime.private import open_private
from services.transfer.ledger_file import FileEvent, manifest_path

COMPRESSION_LEVEL = 3

_ENCODER = msgspec.json.Encoder()


class LedgerFileWriter:
    """Writes a ledger file; file and manifest appear under their names when both are complete.

    ``batches`` is the number of batches written so far.
    """

    def __init__(self, file: Path, pbx: str | None) -> None:
        """Open the file. Raises OSError."""
        self._file = file
        self._pbx = pbx
        self._part = file.with_name(f"{file.name}.part")
        self._out = open_private(self._part, "w+b")
        self._lines = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).stream_writer(self._out, closefd=False)
        self._counts: Counter[tuple[str, Source, str]] = Counter()
        self._first: tuple[int, bytes] | None = None
        self._last: tuple[int, bytes] = 0, b""
        self.batches = 0

    def put(self, batch: SealedBatch, previous: bytes, events: list[FileEvent]) -> None:
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
        """Write the manifest, and rename both files to their final names. Raises OSError."""
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
        draft = manifest_path(self._part)
        with open_private(draft, "wb") as out:
            out.write(msgspec.json.format(_ENCODER.encode(manifest), indent=1) + b"\n")
        self._part.replace(self._file)
        draft.replace(manifest_path(self._file))
        return manifest

    def discard(self) -> None:
        """Delete an unfinished file."""
        self._out.close()
        self._part.unlink(missing_ok=True)
        manifest_path(self._part).unlink(missing_ok=True)
