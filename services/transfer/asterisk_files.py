"""Asterisk's own files, record by record: Master.csv, CEL's csv and queue_log."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from os import SEEK_CUR
from pathlib import Path
from typing import BinaryIO, Literal

from msgspec import Struct

from projections.engine.cdr_csv import cdr_headers
from projections.engine.pbx_clock import local, made_at
from schemas.log import LATEST
from schemas.text import decode_text

Kind = Literal["cdr_csv", "cel_csv", "queue_log"]

LONGEST = 1 << 22
"""Bytes in which a record of any of these files ends."""

NAME = 200
"""Longer names are cut, as those that AMI brings."""


Damage = list[tuple[int, str]]
"""What was left out: the numbers of lines, and why each is no record."""
NUL = "it holds NUL bytes"
RUNS_ON = "a record was cut, and runs into the next one"
UNFINISHED = "it has no end"

CEL_BEGINNING = re.compile(rb'""[A-Z_]{4,}","')
TIME_AT_END = re.compile(rb"[0-9]{10}(?:\.[0-9]+)?\Z")
QUEUE_EVENT = re.compile(rb"[A-Z]{3,}\s*")


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


def lines(path: Path, kind: Kind, damage: Damage | None = None) -> Iterator[Line]:
    """Yield the records of a file. Raises LinesError at the first that is none, and OSError.

    With ``damage``, a line that is no record is left out and appended to it, and the next line is read as if it began
    one. What Asterisk never writes counts as damaged then, even if it can be read.
    """
    parse = PARSERS[kind]
    number = 1
    with path.open("rb") as file:
        while raw := _record(file, quoted=kind != "queue_log"):
            text = decode_text(raw)
            try:
                line = parse(text, raw)
                if damage is not None and (fault := _fault(kind, raw)):
                    raise ValueError(fault)  # noqa: TRY301
            except (ValueError, OverflowError) as error:
                if damage is None:
                    raise LinesError(f"{path}: line {number} is none of {FILES[kind]}: {error}") from None
                damage.append((number, str(error)))
                # What was cut off in quotes has taken whole records in.
                rest = len(raw) - (raw.find(b"\n") + 1 or len(raw))
                file.seek(-rest, SEEK_CUR)
                number += 1
            else:
                yield line
                number += raw.count(b"\n")


def _fault(kind: Kind, raw: bytes) -> str:
    """Say why Asterisk cannot have written this record, as after a power cut; empty if it can."""
    if b"\0" in raw:
        return NUL
    if not raw.endswith(b"\n"):
        return UNFINISHED
    return RUNS_ON if _runs_on(kind, raw) else ""


def _runs_on(kind: Kind, raw: bytes) -> bool:
    """Return whether another record begins within this one; in Master.csv too many columns show that."""
    if kind == "queue_log":
        columns = raw.split(b"|")
        # The second column is the call's unique id, which looks like a time.
        return any(
            TIME_AT_END.search(time) and QUEUE_EVENT.fullmatch(event)
            for time, event in zip(columns[2:], columns[6:], strict=False)
        )
    return kind == "cel_csv" and CEL_BEGINNING.search(raw, 1) is not None


def _record(file: BinaryIO, *, quoted: bool) -> bytes:
    """Read the next record, nothing at the end; it goes on in the next line within quotes."""
    record = b""
    quotes = 0
    while line := file.readline(LONGEST):
        record += line
        quotes += line.count(b'"')
        if not quoted or quotes % 2 == 0 or len(record) >= LONGEST:
            break
    return record
