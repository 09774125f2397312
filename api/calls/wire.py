"""Pages of calls as bytes, and the bytes of one call."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from api.calls.cursor import Place
from services.calls.objects import call_bytes
from services.calls.page import page_of

PIECE = 100
"""Calls per piece: the event loop serves others after each."""


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


def page(rows: Sequence[asyncpg.Record]) -> tuple[list[Mapping[str, Any]], str | None]:
    """Return the calls of a page and the cursor of the next one."""
    calls, last = page_of(rows)
    return calls, None if last is None else Place(*last).cursor
