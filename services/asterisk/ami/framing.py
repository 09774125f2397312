"""AMI framing on bytes: reads of any size become whole blocks, without loss."""

from collections.abc import Iterator

BLOCK_END = b"\r\n\r\n"
MAX_BLOCK_BYTES = 1 << 22
"""Longer input without an empty line is no AMI (the largest reply measured has 10,085 bytes)."""


class Framer:
    """Splits the bytes of a socket into AMI blocks.

    Each block includes the empty line that ends it. A block may start with a CRLF, because TestEvent ends with an extra
    empty line. The CRLF stays in the block, so all blocks joined are the bytes that were read. ``overlong`` counts
    bytes that were discarded because no block ended in them.
    """

    def __init__(self) -> None:
        self.overlong = 0
        self._pending = bytearray()

    @property
    def pending(self) -> bytes:
        """The bytes of the unfinished block."""
        return bytes(self._pending)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the blocks that ``data`` completes."""
        pending = self._pending
        if pending:
            # Search only the new bytes, and copy nothing before an end is found. Otherwise a stream without an end
            # costs the square of its length.
            start = max(0, len(pending) - 3)
            pending += data
            if pending.find(BLOCK_END, start) < 0:
                if len(pending) > MAX_BLOCK_BYTES:
                    self.overlong += len(pending) - 3
                    del pending[:-3]
                return
            data = bytes(pending)
            pending.clear()
        *blocks, rest = data.split(BLOCK_END)
        pending += rest
        for block in blocks:
            yield block + BLOCK_END
