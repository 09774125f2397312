"""Whether an event holds a value: exactly, in a header of the right kind, whatever bytes it is made of."""

import csv
from typing import Any

import msgspec
from msgspec import Struct


class Kind(Struct, frozen=True):
    """What a value is: AMI headers hold it whose names end so (in small letters), as in DestChannel, ParkeeUniqueid.

    ``stems`` are the same for LIKE, in as few patterns as say it: each costs a search through all bytes.
    """

    endings: tuple[bytes, ...]
    stems: tuple[bytes, ...]


CHANNEL = Kind((b"channel", b"chan", b"newname", b"peer"), (b":",))
UNIQUE_ID = Kind((b"uniqueid",), (b"nique__:",))
LINKED_ID = Kind((b"linkedid",), (b"inked__:",))
CALL = Kind((b"uniqueid", b"linkedid"), (b":",))

UNREADABLE_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What bytes raise that are no JSON, or none that anybody reads."""


class ValueMatch(Struct, frozen=True):
    """One of ``values``, as UTF-8, in an AMI header of this kind.

    In JSON (ARI, and our own events) any string is meant, in what was imported (Master.csv, CEL, queue_log) any field.
    """

    kind: Kind
    values: frozenset[bytes]

    def patterns(self) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """Return what LIKE finds it with in AMI, in JSON and in lines; it finds more than `holds` then lets through."""
        values = [_literal(value) for value in sorted(self.values)]
        return (
            [b"%%%b%%%b\r\n%%" % (stem, value) for stem in self.kind.stems for value in values],
            [b'%%"%b"%%' % value for value in values],
            [b"%%%b%%" % value for value in values],
        )


def _literal(value: bytes) -> bytes:
    return value.replace(b"\\", rb"\\").replace(b"%", rb"\%").replace(b"_", rb"\_")


def matches(source: str, raw: bytes, held: ValueMatch) -> bool:
    """Tell whether the event holds it."""
    if source == "ami":
        return any(
            _value(value) in held.values
            for name, colon, value in (line.partition(b":") for line in raw.split(b"\r\n"))
            if colon and name.lower().endswith(held.kind.endings)
        )
    if source in {"ari", "ringledger"}:
        try:
            return _in_json(msgspec.json.decode(raw), held.values)
        except UNREADABLE_JSON:
            return False
    return any(field.encode() in held.values for field in fields(source, raw.decode("utf-8", "replace")))


def _value(value: bytes) -> bytes:
    return value[1:] if value[:1] == b" " else value


def _in_json(value: Any, values: frozenset[bytes]) -> bool:
    if isinstance(value, str):
        return value.encode() in values
    if isinstance(value, dict):
        return any(_in_json(one, values) for one in value.values())
    return isinstance(value, list) and any(_in_json(one, values) for one in value)


def fields(source: str, text: str) -> list[str]:
    """Return the fields of a line that was imported."""
    if source == "queue_log":
        return text.rstrip("\r\n").split("|")
    return next(csv.reader([text]), [])


def header(raw: bytes, name: bytes) -> bytes:
    """Return the value of an AMI header, nothing where it is not there; ``name`` in small letters."""
    lines = (line.partition(b":") for line in raw.split(b"\r\n"))
    return next((_value(value) for found, colon, value in lines if colon and found.lower() == name), b"")
