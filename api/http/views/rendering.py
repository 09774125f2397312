"""Results as bytes. A long list is encoded in pieces, so that 100,000 rows do not block the event loop."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
from aiohttp import Payload
from aiohttp.abc import AbstractStreamWriter
from msgspec import Struct

PIECE_ROWS = 500
"""Rows per piece: the event loop serves others after each, which is after some milliseconds."""
COPIED_BYTES = 64 << 10
"""Bodies up to this size are sent with one write."""
JSON = "application/json; charset=utf-8"

Pieces = tuple[bytes, ...]
"""A result in one or several parts, which are sent one after the other."""


class Renderer(Struct, frozen=True):
    """The format of results.

    ``name`` is part of the cache key, because two renderers may serve one view. ``wrap`` returns what precedes and what
    follows a result in a response that is sent at the given time.
    """

    name: str
    content_type: str
    encode: Callable[[Any], bytes]
    wrap: Callable[[datetime], tuple[bytes, bytes]]


class ListOf(Struct, frozen=True):
    """The wire of a list of any length: the result is ``{"list": [...]}`` with an ``item`` for each row."""

    item: Callable[[asyncpg.Record, datetime], Any]

    def __call__(self, rows: Sequence[asyncpg.Record], now: datetime) -> dict[str, Any]:
        """Return the result as a whole."""
        return {"list": [self.item(row, now) for row in rows]}


class PiecesOf(Struct, frozen=True):
    """The wire of a long result in any format: ``pieces`` yields its bytes, each made of some hundred rows at most."""

    pieces: Callable[[Sequence[asyncpg.Record], datetime], Iterator[bytes]]

    def __call__(self, rows: Sequence[asyncpg.Record], now: datetime) -> bytes:
        """Return the result as a whole."""
        return b"".join(self.pieces(rows, now))


Wire = Callable[[Sequence[asyncpg.Record], datetime], Any]
"""Makes a result of rows and the time for which they are read; None means not found."""


async def render(rows: Sequence[asyncpg.Record], now: datetime, wire: Wire, renderer: Renderer) -> Pieces | None:
    """Return the encoded result without its envelope.

    The caller holds no transaction meanwhile: its lock would keep a rebuilt table from being swapped in.
    """
    if isinstance(wire, PiecesOf):
        made = []
        for one in wire.pieces(rows, now):
            made.append(one)
            await asyncio.sleep(0)
        return tuple(made)
    if not isinstance(wire, ListOf) or len(rows) <= PIECE_ROWS or renderer.content_type != JSON:
        result = wire(rows, now)
        return None if result is None else (renderer.encode(result),)
    pieces: list[bytes] = []
    for start in range(0, len(rows), PIECE_ROWS):
        items = msgspec.json.encode([wire.item(row, now) for row in rows[start : start + PIECE_ROWS]])[1:-1]
        pieces.append((b",%b" if pieces else b'{"list":[%b') % items)
        await asyncio.sleep(0)
    return (*pieces, b"]}")


def size(pieces: Pieces) -> int:
    """Return the number of bytes."""
    return sum(map(len, pieces))


class EnvelopePayload(Payload):
    """A result in its envelope, sent part by part: large parts are never copied."""

    def __init__(self, parts: Pieces, content_type: str) -> None:
        if size(parts) <= COPIED_BYTES:
            parts = (b"".join(parts),)
        super().__init__(parts, content_type=content_type)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return all parts as text."""
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all parts, each when the client has taken the ones before."""
        for part in self._value:
            await writer.write(part)
