"""Reads Asterisk's own files record by record: Master.csv, the CSV of CEL, and queue_log."""

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
from schemas.log import MAX_EXACT_SECONDS
from schemas.text import decode_text

CsvKind = Literal["cdr_csv", "cel_csv", "queue_log"]

MAX_RECORD_BYTES = 1 << 22
MAX_NAME_LENGTH = 200
"""Longer names are cut, as the names of AMI events are."""

Damage = list[tuple[int, str]]
"""Skipped records: the numbers of their first lines, and what is wrong with each."""
NUL = "contains NUL bytes"
RUNS_ON = "a record was cut, and runs into the next one"
UNFINISHED = "has no end"

CEL_START = re.compile(rb'""[A-Z_]{4,}","')
TIME_AT_END = re.compile(rb"[0-9]{10}(?:\.[0-9]+)?\Z")
QUEUE_EVENT = re.compile(rb"[A-Z]{3,}\s*")


class AsteriskFileError(Exception):
    """The file has an invalid record; the message is one line and names the place."""


class CsvRecord(Struct, frozen=True):
    """One record; ``raw`` are its bytes with the end of the line.

    ``at`` is the time of the record or of its end, in seconds since the epoch. If only local time is known, ``at`` is
    None and ``local_end`` is the local time as if it were UTC. ``duration`` and ``channel_created`` (the time in the
    channel's unique id, or 0) help to find the time zone.
    """

    name: str
    raw: bytes
    at: float | None
    local_end: float = 0.0
    duration: int = 0
    channel_created: int = 0


def _parse_cdr(text: str, raw: bytes) -> CsvRecord:
    headers = cdr_headers(text)
    duration = int(headers.get("Duration", "0"))
    start = local(headers.get("StartTime", ""))
    end = local(headers["EndTime"]) if "EndTime" in headers else start + duration
    return CsvRecord("Cdr", raw, None, end, duration, made_at(headers.get("UniqueID", "")))


def _parse_cel(text: str, raw: bytes) -> CsvRecord:
    try:
        columns = next(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (csv.Error, StopIteration) as error:
        raise ValueError(f"not CSV: {error}") from None
    if len(columns) < 2 or not columns[0]:
        raise ValueError("the first columns must be an event type and a time")
    try:
        return CsvRecord(columns[0][:MAX_NAME_LENGTH], raw, _epoch(columns[1]))
    except ValueError:
        pass
    end = datetime.fromisoformat(columns[1])
    if end.tzinfo is not None:
        return CsvRecord(columns[0][:MAX_NAME_LENGTH], raw, end.timestamp())
    return CsvRecord(columns[0][:MAX_NAME_LENGTH], raw, None, end.replace(tzinfo=UTC).timestamp())


def _parse_queue_log(text: str, raw: bytes) -> CsvRecord:
    columns = text.rstrip("\r\n").split("|")
    if len(columns) < 5 or not columns[4]:
        raise ValueError("the first columns must be time|call|queue|agent|event")
    return CsvRecord(columns[4][:MAX_NAME_LENGTH], raw, _epoch(columns[0]))


def _epoch(text: str) -> float:
    when = float(text)
    if not 0 < when < MAX_EXACT_SECONDS:
        raise ValueError(f"{text} is not a time")
    return when


PARSERS: dict[CsvKind, Callable[[str, bytes], CsvRecord]] = {
    "cdr_csv": _parse_cdr,
    "cel_csv": _parse_cel,
    "queue_log": _parse_queue_log,
}
FILES: dict[CsvKind, str] = {"cdr_csv": "Master.csv", "cel_csv": "a CEL csv", "queue_log": "queue_log"}


def read_records(path: Path, kind: CsvKind, damage: Damage | None = None) -> Iterator[CsvRecord]:
    """Yield the records of a file. Raises AsteriskFileError at the first invalid one, and OSError.

    With ``damage``, an invalid line is skipped and appended to it, and a new record is assumed to begin on the next
    line. Lines that Asterisk never writes count as damaged then, even if they can be parsed.
    """
    parse = PARSERS[kind]
    number = 1
    with path.open("rb") as file:
        while raw := _read_record(file, quoted=kind != "queue_log"):
            text = decode_text(raw)
            try:
                record = parse(text, raw)
                if damage is not None and (fault := _fault(kind, raw)):
                    raise ValueError(fault)  # noqa: TRY301
            except (ValueError, OverflowError) as error:
                if damage is None:
                    raise AsteriskFileError(f"{path}: line {number} is not of {FILES[kind]}: {error}") from None
                damage.append((number, str(error)))
                # A cut within quotes has joined whole records to this one.
                rest = len(raw) - (raw.find(b"\n") + 1 or len(raw))
                file.seek(-rest, SEEK_CUR)
                number += 1
            else:
                yield record
                number += raw.count(b"\n")


def _fault(kind: CsvKind, raw: bytes) -> str:
    """Return why Asterisk cannot have written a record, as after a power cut, or an empty string."""
    if b"\0" in raw:
        return NUL
    if not raw.endswith(b"\n"):
        return UNFINISHED
    return RUNS_ON if _runs_on(kind, raw) else ""


def _runs_on(kind: CsvKind, raw: bytes) -> bool:
    """Return whether another record begins within this one; in Master.csv the number of columns shows it already."""
    if kind == "queue_log":
        columns = raw.split(b"|")
        # The second column is the call's unique id, which looks like a time.
        return any(
            TIME_AT_END.search(time) and QUEUE_EVENT.fullmatch(event)
            for time, event in zip(columns[2:], columns[6:], strict=False)
        )
    return kind == "cel_csv" and CEL_START.search(raw, 1) is not None


def _read_record(file: BinaryIO, *, quoted: bool) -> bytes:
    """Return the next record, empty at the end of the file; within quotes it continues on the next line."""
    record = b""
    quotes = 0
    while line := file.readline(MAX_RECORD_BYTES):
        record += line
        quotes += line.count(b'"')
        if not quoted or quotes % 2 == 0 or len(record) >= MAX_RECORD_BYTES:
            break
    return record
