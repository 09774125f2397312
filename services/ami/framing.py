"""AMI framing on bytes: whole blocks out of arbitrary reads, nothing lost, secrets masked."""

import re
from collections.abc import Iterator

END = b"\r\n\r\n"
MAX_BLOCK = 1 << 22
"""Bytes without an empty line after which what was read is no AMI any more (the largest reply seen: 10,085)."""

# An empty value stays empty (the possessive ?+), and the two headers whose names only look secret keep theirs.
SECRET = re.compile(
    rb"(?im)^(?!UsingPassword:|MohPassthrough:)"
    rb"((?:[^:\r\n]*(?:pass|secret|md5|cred|challenge|token|hash)[^:\r\n]*|key):[ ]?+)([^\r\n]+)",
)
WORDS = (b"pass", b"secret", b"md5", b"cred", b"challenge", b"token", b"hash", b"\nkey:")

# Events whose headers are fixed in Asterisk's source and hold no secret (free text stands in values only): two thirds
# of all traffic, which need not be searched. A test holds this list against the recordings.
HARMLESS = frozenset(
    b"BridgeEnter BridgeLeave CEL DeviceStateChange DialBegin DialEnd DialState ExtensionStatus Hangup HangupRequest"
    b" NewCallerid NewConnectedLine Newchannel Newexten Newstate QueueMemberStatus RTCPReceived RTCPSent"
    b" SoftHangupRequest VarSet".split(),
)


def masked(block: bytes) -> bytes:
    """Return the block with the values of secret headers replaced by eight asterisks."""
    low = block.lower()
    if any(word in low for word in WORDS):
        return SECRET.sub(rb"\g<1>********", block)
    return block


class Framer:
    """Cuts what a socket delivers into AMI blocks; each ends with its empty line and is handed out once.

    A block may start with a CRLF (TestEvent ends with an empty line too many); it stays with the block, so that the
    bytes of all blocks put together are the bytes that were read. ``pending`` is what has no end yet.
    """

    def __init__(self) -> None:
        self.pending = b""
        self.overlong = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the blocks that ``data`` completes. What is overlong is given up and counted in ``overlong``."""
        blocks = (self.pending + data).split(END) if self.pending else data.split(END)
        self.pending = blocks.pop()
        if len(self.pending) > MAX_BLOCK:
            self.overlong += len(self.pending) - 3
            self.pending = self.pending[-3:]
        for block in blocks:
            yield block + END
