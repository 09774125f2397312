"""Results as JSON in pieces, so that a list of 100,000 rows does not block the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import msgspec
from aiohttp import Payload
from aiohttp.abc import AbstractStreamWriter
from msgspec import Struct

ROWS = 500
"""Rows per piece: the event loop serves others after each, so after some milliseconds."""

Pieces = tuple[bytes, ...]
"""JSON in one or several parts, which are sent one after the other."""


class ListOf(Struct, frozen=True):
    """The wire of a list of any length: the result is ``{"list": [...]}`` with an ``item`` for each row."""

    item: Callable[[asyncpg.Record], Any]

    def __call__(self, rows: Sequence[asyncpg.Record]) -> dict[str, Any]:
        """Return the result as a whole."""
        return {"list": [self.item(row) for row in rows]}


Wire = Callable[[Sequence[asyncpg.Record]], Any]
"""Makes a result from rows; None: there is no such thing. A `ListOf` is rendered in pieces."""


async def render(rows: Sequence[asyncpg.Record], wire: Wire, closing: bytes) -> Pieces | None:
    """Return the result as JSON with ``closing`` after it.

    The caller holds no transaction meanwhile: its lock would keep a rebuilt table from being swapped in.
    """
    if not isinstance(wire, ListOf):
        result = wire(rows)
        return None if result is None else (msgspec.json.encode(result) + closing,)
    if len(rows) <= ROWS:
        return (msgspec.json.encode(wire(rows)) + closing,)
    pieces: list[bytes] = []
    for start in range(0, len(rows), ROWS):
        items = msgspec.json.encode([wire.item(row) for row in rows[start : start + ROWS]])[1:-1]
        pieces.append((b",%b" if pieces else b'{"list":[%b') % items)
        await asyncio.sleep(0)
    return (*pieces, b"]}" + closing)


def size(pieces: Pieces) -> int:
    """Return the number of bytes."""
    return sum(map(len, pieces))


class EnvelopePayload(Payload):
    """A body in parts, which are sent one after the other: the large ones are never copied."""

    def __init__(self, parts: Pieces) -> None:
        super().__init__(parts, content_type="application/json")

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return all parts as text."""
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all parts, each when the client has taken the ones before."""
        for part in self._value:
            await writer.write(part)
