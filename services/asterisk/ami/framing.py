"""AMI framing on bytes: whole blocks out of arbitrary reads, nothing lost."""

from collections.abc import Iterator

END = b"\r\n\r\n"
MAX_BLOCK = 1 << 22
"""Bytes without an empty line after which what was read is no AMI any more (the largest reply seen: 10,085)."""


class Framer:
    """Cuts what a socket delivers into AMI blocks; each ends with its empty line and is handed out once.

    A block may start with a CRLF (TestEvent ends with an empty line too many); it stays with the block, so that the
    bytes of all blocks put together are the bytes that were read. ``overlong`` counts bytes given up because no block
    ended in them.
    """

    def __init__(self) -> None:
        self.overlong = 0
        self._pending = bytearray()

    @property
    def pending(self) -> bytes:
        """What was read and has no end yet."""
        return bytes(self._pending)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the blocks that ``data`` completes."""
        pending = self._pending
        if pending:
            # Only the new bytes are searched, and nothing is copied before an end is found: a stream without one
            # would cost the square of its length.
            start = max(0, len(pending) - 3)
            pending += data
            if pending.find(END, start) < 0:
                if len(pending) > MAX_BLOCK:
                    self.overlong += len(pending) - 3
                    del pending[:-3]
                return
            data = bytes(pending)
            pending.clear()
        *blocks, rest = data.split(END)
        pending += rest
        for block in blocks:
            yield block + END
