"""The hash chain over the log: the hash of each event (leaf) and of each batch (link).

A **leaf** is the SHA-256 of one event: its salt, then ``occurred`` (microseconds since the epoch, empty if unknown),
``recorded``, ``source`` and ``name``, each followed by a NUL, then the stored bytes. A **link** is the SHA-256 of three
parts: the previous batch's link (32 zero bytes before the first batch), a line, and all leaves of the batch. The line
has the batch's positions, connection, first ordinal, times and PBX. So the chain binds every stored column of every
event, and the order of all events.

A **salt** is 16 random bytes for each event, stored in its batch. The link does not contain it, because the leaf binds
it. A redaction replaces the salt of an event. Without the old salt, the old leaf cannot confirm a guess.

``ledger.append`` computes links in SQL; its caller computes leaves; ``ringledger verify`` computes both again.
"""

from hashlib import sha256

from msgspec import Struct

ZERO_LINK = bytes(32)
"""The link before the first batch."""
LEAF_BYTES = 32
SALT_BYTES = 16


def leaf(  # noqa: PLR0917 (the columns in the order of the hash)
    salt: bytes, occurred: int | None, recorded: int, source: str, name: str, raw: bytes
) -> bytes:
    """Return the hash of one event; times are microseconds since the epoch."""
    when = "" if occurred is None else occurred
    return sha256(salt + f"{when}\0{recorded}\0{source}\0{name}\0".encode() + raw).digest()


def split(joined: bytes, size: int) -> list[bytes]:
    """Return the single leaves or salts of joined ones."""
    return [joined[at : at + size] for at in range(0, len(joined), size)]


class SealedBatch(Struct, frozen=True):
    """One append, a row of ``ledger.batch``; times are microseconds since the epoch."""

    first: int
    last: int
    connection: int
    ordinal: int
    appended: int
    earliest: int
    pbx: str
    hash: bytes
    leaves: bytes
    salts: bytes

    def link(self, previous: bytes) -> bytes:
        """Return the correct hash of this batch after the link ``previous``."""
        pbx = self.pbx.encode()
        numbers = (self.first, self.last, self.connection, self.ordinal, self.appended, self.earliest, len(pbx))
        return sha256(previous + " ".join(map(str, numbers)).encode() + b" " + pbx + self.leaves).digest()
