"""The lines of a ledger file (``ringledger export --output``), and the manifest beside it.

A file has a `BatchLine` for each batch, followed by an `EventLine` for each of its events, in order. Times are
microseconds since the epoch, hashes are hexadecimal. Values are not rounded, so links can be computed from the lines.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.log import Source

FORMAT = 1

Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Microseconds = Annotated[int, Meta(gt=-9_000_000_000_000_000, lt=9_000_000_000_000_000)]
Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Meta(pattern="^[^\\x00]*$")]
"""A text without NUL, which PostgreSQL's text cannot hold."""


class BatchLine(Struct, frozen=True, forbid_unknown_fields=True):
    """One append: ``previous`` is the link of the batch before it in the log, ``hash`` its own.

    ``salts`` are those of its events, joined, in base64.
    """

    first: Annotated[int, Meta(ge=1, le=2**62)]
    last: Annotated[int, Meta(ge=1, le=2**62)]
    connection: Number
    ordinal: Annotated[int, Meta(ge=1, le=2**62)]
    appended: Microseconds
    pbx: Text
    previous: Hash
    hash: Hash
    salts: bytes


class EventLine(Struct, forbid_unknown_fields=True):
    """One event: its bytes are ``text`` where they are UTF-8, ``base64`` where not.

    ``sealed`` is the leaf that it was appended with, if it has been redacted since.
    """

    position: int
    occurred: Microseconds | None
    recorded: Microseconds
    source: Source
    name: Text
    text: str | UnsetType = UNSET
    base64: bytes | UnsetType = UNSET
    sealed: Hash | UnsetType = UNSET


class NameCount(Struct, frozen=True, forbid_unknown_fields=True):
    """The number of events of one name in the file."""

    pbx: str
    source: Source
    name: str
    count: int


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """The manifest of a ledger file; ``pbx`` is null for a file of all PBXes, which holds a whole piece of the chain.

    ``previous`` is the link before the first batch, ``hash`` that of the last; ``sha256`` and ``size`` (bytes)
    are those of the file on disk.
    """

    format: int
    pbx: str | None
    first: int
    last: int
    batches: int
    events: int
    counts: list[NameCount]
    previous: Hash
    hash: Hash
    size: int
    sha256: Hash
