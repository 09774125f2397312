"""Rows of calls as bytes: an ended call is PostgreSQL's text as it is, the object of an open one is made here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from api.calls.cursor import Place
from projections.calls.call_rows import CallRow, as_wire

LISTS = (
    *("parties", "rings", "conversations", "transfers", "pickups", "forwards", "queues", "holds", "parks"),
    *("conferences", "voicemails", "recordings", "legs", "gaps"),
)
"""The members of a call that a list leaves out unless it is full."""
ROW_COLUMNS = (
    *("pbx", "tm_update", "linkedid", "number", "started_at", "answered_at", "ended_at", "state", "is_told"),
    *("direction", "outcome", "is_originated", "is_transferred", "talk_seconds", "duration_seconds"),
    *("aliases", "sources", "story"),
)
PIECE = 100
"""Calls per piece: the event loop serves others after each."""


def call_object(row: CallRow) -> dict[str, Any]:
    """Return the object of a call, ended or not."""
    if row.body is not None:
        return row.body
    # The machine of calls is large, and a process that serves no open call does not need it.
    from projections.calls.story.row import call_of  # type: ignore[import-not-found,unused-ignore]

    return as_wire(call_of(row))


def call_bytes(row: Mapping[str, Any], *, is_full: bool) -> bytes:
    """Return the JSON of the call of a row."""
    body: str | None = row["body"]
    if body is not None:
        return body.encode()
    call = call_object(CallRow(**{name: row[name] for name in ROW_COLUMNS}))
    return msgspec.json.encode(call if is_full else {n: v for n, v in call.items() if n not in LISTS})


def one(rows: Sequence[asyncpg.Record], _now: datetime) -> msgspec.Raw | None:
    """Return the call of the first row."""
    return msgspec.Raw(call_bytes(rows[0], is_full=True)) if rows else None


def json_pieces(*, is_full: bool) -> Callable[[Sequence[asyncpg.Record], datetime], Iterator[bytes]]:
    """Return a maker of ``{"calls": [...], "next": cursor}``."""

    def pieces(rows: Sequence[asyncpg.Record], _now: datetime) -> Iterator[bytes]:
        shown, cursor = page(rows)
        opening = b'{"calls":['
        for start in range(0, len(shown), PIECE):
            yield opening + b",".join([call_bytes(row, is_full=is_full) for row in shown[start : start + PIECE]])
            opening = b","
        yield (b"" if shown else opening) + b'],"next":%b}' % msgspec.json.encode(cursor)

    return pieces


def ndjson_pieces(*, is_full: bool) -> Callable[[Sequence[asyncpg.Record], datetime], Iterator[bytes]]:
    """Return a maker of a line for each call, and a last line ``{"next": cursor}``."""

    def pieces(rows: Sequence[asyncpg.Record], _now: datetime) -> Iterator[bytes]:
        shown, cursor = page(rows)
        for start in range(0, len(shown), PIECE):
            yield b"".join([call_bytes(row, is_full=is_full) + b"\n" for row in shown[start : start + PIECE]])
        yield b'{"next":%b}\n' % msgspec.json.encode(cursor)

    return pieces


def page(rows: Sequence[asyncpg.Record]) -> tuple[Sequence[asyncpg.Record], str | None]:
    """Return the calls of a page and its cursor; one row more than the limit shows that there is a next page."""
    limit = rows[0]["page_size"] if rows else 0
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], Place(last["started_at"], last["number"]).cursor
