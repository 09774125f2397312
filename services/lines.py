"""Asterisk's own files, record by record: Master.csv, CEL's csv and queue_log."""

import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from msgspec import Struct

from projections.cdr_csv import cdr_headers
from projections.pbx_clock import local, made_at
from schemas.log import LATEST

Kind = Literal["cdr_csv", "cel_csv", "queue_log"]

LONGEST = 1 << 22
"""Bytes in which a record of any of these files ends."""

NAME = 200
"""Longer names are cut, as those that AMI brings."""


class LinesError(Exception):
    """The file is not what it should be; the message is one line and says where."""


class Line(Struct, frozen=True):
    """One record: ``raw`` are its bytes with the line's end.

    ``at`` is when it happened or ended, in seconds since the epoch; where only local time is known it is None, and
    ``ended`` is the local time as if it were UTC. ``lasted`` and ``made`` (when its channel was made, by the unique id,
    or 0) help to tell the zone.
    """

    name: str
    raw: bytes
    at: float | None
    ended: float = 0.0
    lasted: int = 0
    made: int = 0


def _cdr(text: str, raw: bytes) -> Line:
    headers = cdr_headers(text)
    lasted = int(headers.get("Duration", "0"))
    start = local(headers.get("StartTime", ""))
    ended = local(headers["EndTime"]) if "EndTime" in headers else start + lasted
    return Line("Cdr", raw, None, ended, lasted, made_at(headers.get("UniqueID", "")))


def _cel(text: str, raw: bytes) -> Line:
    try:
        columns = next(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (csv.Error, StopIteration) as error:
        raise ValueError(f"no CSV: {error}") from None
    if len(columns) < 2 or not columns[0]:
        raise ValueError("an event type and a time should come first")
    try:
        return Line(columns[0][:NAME], raw, _epoch(columns[1]))
    except ValueError:
        pass
    ended = datetime.fromisoformat(columns[1])
    if ended.tzinfo is not None:
        return Line(columns[0][:NAME], raw, ended.timestamp())
    return Line(columns[0][:NAME], raw, None, ended.replace(tzinfo=UTC).timestamp())


def _queue_log(text: str, raw: bytes) -> Line:
    columns = text.rstrip("\r\n").split("|")
    if len(columns) < 5 or not columns[4]:
        raise ValueError("time|call|queue|agent|event should come first")
    return Line(columns[4][:NAME], raw, _epoch(columns[0]))


def _epoch(text: str) -> float:
    when = float(text)
    if not 0 < when < LATEST:
        raise ValueError(f"{text} is no time")
    return when


PARSERS: dict[Kind, Callable[[str, bytes], Line]] = {"cdr_csv": _cdr, "cel_csv": _cel, "queue_log": _queue_log}
FILES: dict[Kind, str] = {"cdr_csv": "Master.csv", "cel_csv": "a CEL csv", "queue_log": "queue_log"}


def lines(path: Path, kind: Kind) -> Iterator[Line]:
    """Yield the records of a file. Raises LinesError at the first that is none, and OSError."""
    parse = PARSERS[kind]
    with path.open("rb") as file:
        for number, raw in _records(file, quoted=kind != "queue_log"):
            # What PostgreSQL's text can hold: UTF-8 without NUL.
            text = raw.decode("utf-8", "replace").replace("\0", "\ufffd")
            try:
                yield parse(text, raw)
            except (ValueError, OverflowError) as error:
                raise LinesError(f"{path}: line {number} is none of {FILES[kind]}: {error}") from None


def _records(file: BinaryIO, *, quoted: bool) -> Iterator[tuple[int, bytes]]:
    """Yield records with the number of their first line; one goes on in the next line within quotes."""
    number, first, pending = 0, 1, b""
    while line := file.readline(LONGEST):
        number += 1
        pending += line
        if quoted and pending.count(b'"') % 2 and len(pending) < LONGEST:
            continue
        yield first, pending
        first, pending = number + 1, b""
    if pending:
        yield first, pending
