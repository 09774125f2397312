"""Exact matches of a value in an event, in a header of a kind, for any bytes."""

import csv
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from projections.engine.headers import pairs


class ValueKind(Struct, frozen=True):
    """The kind of a value, by the endings (in lower case) of the AMI headers that hold it, as in ParkeeUniqueid.

    ``stems`` are the same for LIKE, in the fewest patterns, because each costs a search through all bytes.
    """

    endings: tuple[bytes, ...]
    stems: tuple[bytes, ...]


CHANNEL = ValueKind((b"channel", b"chan", b"newname", b"peer"), (b":",))
UNIQUE_ID = ValueKind((b"uniqueid",), (b"nique__:",))
LINKED_ID = ValueKind((b"linkedid",), (b"inked__:",))
CALL = ValueKind((b"uniqueid", b"linkedid"), (b":",))

UNREADABLE_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The errors of bytes that are not JSON, or not decodable."""


class ValueMatch(Struct, frozen=True):
    """A match on one of ``values``, in UTF-8, in an AMI header of this kind.

    In JSON (ARI, and Ringledger's own events) any string matches, in imported lines (Master.csv, CEL, queue_log) any
    field.
    """

    kind: ValueKind
    values: frozenset[bytes]

    def patterns(self) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """Return the LIKE patterns for AMI, JSON and lines. They match more than `matches` does."""
        values = [_literal(value) for value in sorted(self.values)]
        return (
            [b"%%%b%%%b\r\n%%" % (stem, value) for stem in self.kind.stems for value in values],
            [b'%%"%b"%%' % value for value in values],
            [b"%%%b%%" % value for value in values],
        )


def _literal(value: bytes) -> bytes:
    return value.replace(b"\\", rb"\\").replace(b"%", rb"\%").replace(b"_", rb"\_")


def matches(source: str, raw: bytes, match: ValueMatch) -> bool:
    """Return whether the event holds one of the values."""
    if source == "ami":
        return any(value in match.values and name.lower().endswith(match.kind.endings) for name, value in _pairs(raw))
    if source in {"ari", "ringledger"}:
        try:
            return _in_json(msgspec.json.decode(raw), match.values)
        except UNREADABLE_JSON:
            return False
    return any(field.encode() in match.values for field in fields(source, raw.decode("utf-8", "replace")))


def _pairs(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    for name, value in pairs(raw.decode("utf-8", "surrogateescape")):
        if value is not None:
            yield name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape")


def _in_json(value: Any, values: frozenset[bytes]) -> bool:
    if isinstance(value, str):
        return value.encode() in values
    if isinstance(value, dict):
        return any(_in_json(one, values) for one in value.values())
    return isinstance(value, list) and any(_in_json(one, values) for one in value)


def fields(source: str, text: str) -> list[str]:
    """Return the fields of an imported line."""
    if source == "queue_log":
        return text.rstrip("\r\n").split("|")
    return next(csv.reader([text]), [])


def header(raw: bytes, name: bytes) -> bytes:
    """Return the value of an AMI header, empty if it is absent; ``name`` is in lower case."""
    return next((value for header_name, value in _pairs(raw) if header_name.lower() == name), b"")
