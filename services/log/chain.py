"""The hash chain over the log: what is hashed, and how.

A **leaf** is the SHA-256 of one event: its salt, then ``occurred`` (microseconds since the epoch, empty where unknown),
``recorded``, ``source`` and ``name``, each followed by a NUL, then the stored bytes. A **link** is the SHA-256 of the
previous batch's link (32 zero bytes before the first), a line that names the batch's positions, connection, first
ordinal, times and PBX, and all its leaves. So each stored column of each event is bound, and so is the order of all.

A **salt** is 16 random bytes of each event, kept in its batch. It is no part of the link, for the leaf binds it. Who
redacts an event puts another salt in its place; without the old one the old leaf tells nobody whether a guess is right.

``ledger.append`` computes links, in SQL; its caller computes leaves; ``ringledger verify`` computes both anew.
"""

from hashlib import sha256

from msgspec import Struct

BEGINNING = bytes(32)
LEAF = 32
SALT = 16


def leaf(  # noqa: PLR0917 (the columns, in the order in which they are hashed)
    salt: bytes, occurred: int | None, recorded: int, source: str, name: str, raw: bytes
) -> bytes:
    """Return the hash of one event; times are microseconds since the epoch."""
    when = "" if occurred is None else occurred
    return sha256(salt + f"{when}\0{recorded}\0{source}\0{name}\0".encode() + raw).digest()


def cut(joined: bytes, size: int) -> list[bytes]:
    """Return the pieces of joined leaves or salts."""
    return [joined[at : at + size] for at in range(0, len(joined), size)]


class Batch(Struct, frozen=True):
    """One append as ``ledger.batch`` holds it; times are microseconds since the epoch."""

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
        """Return the hash that this batch should have after ``previous``."""
        pbx = self.pbx.encode()
        numbers = (self.first, self.last, self.connection, self.ordinal, self.appended, self.earliest, len(pbx))
        return sha256(previous + " ".join(map(str, numbers)).encode() + b" " + pbx + self.leaves).digest()
