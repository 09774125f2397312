"""Reads Asterisk's own files record by record: Master.csv, the CSV of CEL, and queue_log."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from os import SEEK_CUR
from pathlib import Path
from typing import BinaryIO, Literal

from msgspec import Struct

from projections.engine.cdr_csv import cdr_headers
from projections.engine.cel_csv import cel_values
from projections.engine.pbx_clock import local, made_at
from projections.engine.queue_log import queue_log_headers
from schemas.ami import cel
from schemas.cel_columns import DEFAULT, SHORTEST, layout
from schemas.log import MAX_EXACT_SECONDS
from schemas.queue_log import log_name
from schemas.text import decode_text

CsvKind = Literal["cdr_csv", "cel_csv", "queue_log"]

MAX_RECORD_BYTES = 1 << 22
MAX_NAME_LENGTH = 200
"""Longer names are cut, as the names of AMI events are."""

Columns = tuple[str, ...]
"""The columns of a CEL csv as ``parse_columns`` returns them."""

Damage = list[tuple[int, str]]
"""Skipped records: the numbers of their first lines, and what is wrong with each."""
NUL = "contains NUL bytes"
RUNS_ON = "a record was cut, and runs into the next one"
UNFINISHED = "has no end"

EPOCH = re.compile(r"[0-9]+(?:\.[0-9]*)?")
CEL_START = re.compile(rb'""[A-Z_]{4,}","')
TIME_AT_END = re.compile(rb"[0-9]{10}(?:\.[0-9]+)?\Z")
QUEUE_EVENT = re.compile(rb"[A-Z]{3,}\s*")


class AsteriskFileError(Exception):
    """The file has an invalid record; the message is one line and names the place."""


class CsvRecord(Struct, frozen=True):
    """One record; ``raw`` are its bytes with the end of the line.

    ``at`` is the time of the record or of its end, in seconds since the epoch. If only local time is known, ``at`` is
    None and ``local_end`` is the local time as if it were UTC. ``duration`` and ``channel_created`` (the time in the
    channel's unique id, or 0) help to find the time zone. Ringledger 0.1.0 imported the record as ``old_name``.
    """

    name: str
    raw: bytes
    at: float | None
    local_end: float = 0.0
    duration: int = 0
    channel_created: int = 0
    old_name: str = ""


def _parse_cdr(text: str, raw: bytes, _: Columns) -> CsvRecord:
    headers = cdr_headers(text)
    duration = int(headers.get("Duration", "0"))
    start = local(headers.get("StartTime", ""))
    end = local(headers["EndTime"]) if "EndTime" in headers else start + duration
    return CsvRecord("Cdr", raw, None, end, duration, made_at(headers.get("UniqueID", "")))


def _parse_cel(text: str, raw: bytes, columns: Columns) -> CsvRecord:
    values = cel_values(text)
    names = columns or layout(len(values))
    if names is None:
        usual = f"{SHORTEST} to {len(DEFAULT)} of Asterisk's cel_custom.conf"
        raise ValueError(f"{len(values)} columns instead of the {usual}; name the file's own with --columns")
    if len(values) != len(names):
        raise ValueError(f"{len(values)} columns, and --columns names {len(names)}")
    event, time, unique_id = (values[names.index(name)] for name in ("eventtype", "eventtime", "uniqueid"))
    if not event:
        raise ValueError("the event type is empty")
    at, end = None, 0.0
    if EPOCH.fullmatch(time):
        at = _epoch(time)
    else:
        local_time = datetime.fromisoformat(time)
        at = None if local_time.tzinfo is None else local_time.timestamp()
        end = local_time.replace(tzinfo=UTC).timestamp()
        if not 0 < end < MAX_EXACT_SECONDS:
            raise ValueError(f"{time!r} is not a time")
    return CsvRecord(cel.NAME, raw, at, end, 0, made_at(unique_id), event[:MAX_NAME_LENGTH])


def _parse_queue_log(text: str, raw: bytes, _: Columns) -> CsvRecord:
    headers = queue_log_headers(text)
    event: str = headers["Event"]
    return CsvRecord(log_name(event), raw, _epoch(headers.get("Time", "")), old_name=event[:MAX_NAME_LENGTH])


def _epoch(text: str) -> float:
    if not EPOCH.fullmatch(text) or not 0 < (when := float(text)) < MAX_EXACT_SECONDS:
        raise ValueError(f"{text!r} is not a time")
    return when


PARSERS: dict[CsvKind, Callable[[str, bytes, Columns], CsvRecord]] = {
    "cdr_csv": _parse_cdr,
    "cel_csv": _parse_cel,
    "queue_log": _parse_queue_log,
}
FILES: dict[CsvKind, str] = {"cdr_csv": "Master.csv", "cel_csv": "a CEL csv", "queue_log": "queue_log"}


def read_records(path: Path, kind: CsvKind, damage: Damage | None = None, columns: Columns = ()) -> Iterator[CsvRecord]:
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
                record = parse(text, raw, columns)
                if damage is not None and (fault := _fault(kind, raw)):
                    raise ValueError(fault)  # noqa: TRY301
            except (ValueError, OverflowError) as error:
                if damage is None:
                    raise AsteriskFileError(f"{path}: line {number} is not of {FILES[kind]}: {error}") from None
                damage.append((number, RUNS_ON if _runs_on(kind, raw) else str(error)))
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
