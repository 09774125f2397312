"""The event log: appending to it and reading from it. Both are SQL in ``services/database/migrations``."""

import os
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

import asyncpg
from msgspec import Struct

from schemas.log import NewEvent, RecordedEvent, Source
from services.log.chain import SALT, cut, leaf

APPEND = "SELECT ledger.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"

READ = """
SELECT position, pbx, source, name, at, raw, recorded
FROM (
    SELECT position, pbx, source, name, coalesce(occurred, recorded) AS at, raw, recorded,
           sum(octet_length(raw)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - octet_length(raw) AS before
    FROM ledger.event
    WHERE position > $1 AND position <= $2
      AND (name = ANY($3::text[]) OR position = (SELECT least(position, $2) FROM ledger.head))
) e
WHERE before < $4
ORDER BY position
"""
READ_BYTES = 64 << 20
"""After so many bytes a read ends: an event may have four megabytes, and a batch thousands of events."""


Columns = tuple[Any, ...]
"""Events as ``ledger.append`` takes them, from ``p_sources`` on."""


class Sealed(Struct, frozen=True):
    """What the log wants to know of events besides what they hold: times in microseconds, leaves, salts."""

    occurred: list[int | None]
    recorded: list[int]
    leaves: list[bytes]
    salts: bytes


class Told(Protocol):
    """What an event holds besides its times."""

    @property
    def source(self) -> Source:
        """Who said it."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def raw(self) -> bytes:
        """Its bytes."""


def seal(events: Sequence[NewEvent]) -> Sealed:
    """Compute it. Raises ValueError or OverflowError for a time that is none, or a name that is no text."""
    occurred = [None if e.occurred is None else int(e.occurred * 1e6 + 0.5) for e in events]
    return seal_at(occurred, [int(e.recorded * 1e6 + 0.5) for e in events], events)


def seal_at(occurred: list[int | None], recorded: list[int], events: Sequence[Told]) -> Sealed:
    """Compute it where times are microseconds already."""
    salts = os.urandom(SALT * len(events))
    leaves = [
        leaf(s, o, r, e.source, e.name, e.raw)
        for s, o, r, e in zip(cut(salts, SALT), occurred, recorded, events, strict=True)
    ]
    return Sealed(occurred, recorded, leaves, salts)


async def append(connection: asyncpg.Connection, pbx: str, writer: int, first: int, events: Sequence[NewEvent]) -> int:
    """Append ``events`` as ordinals ``first``... of (pbx, writer); return the last position once it is durable.

    May be repeated after any failure: what is in the log already is not appended again. Raises asyncpg.DataError if
    ordinals before ``first`` are missing, and asyncpg.LockNotAvailableError if another writer has taken this one's
    place before the last of the events was recorded; and what `seal` raises.
    """
    return await append_columns(connection, (pbx, writer, first), columns(events, seal(events)))


async def append_columns(connection: asyncpg.Connection, place: tuple[str, int, int], given: Columns) -> int:
    """Append as `append` does; ``place`` is its (pbx, writer, first)."""
    position: int = await connection.fetchval(APPEND, *place, *given)
    return position


def columns(events: Sequence[Told], sealed: Sealed) -> Columns:
    """Return events as ``ledger.append`` takes them, from ``p_sources`` on."""
    kinds: dict[tuple[str, str], int] = {}
    kind = [kinds.setdefault((e.source, e.name), len(kinds) + 1) for e in events]
    return (
        [source for source, _ in kinds],
        [name for _, name in kinds],
        kind,
        sealed.occurred,
        sealed.recorded,
        list(accumulate([len(e.raw) for e in events])),
        b"".join([e.raw for e in events]),
        b"".join(sealed.leaves),
        sealed.salts,
    )


async def read(connection: asyncpg.Connection, after: int, upto: int, names: Sequence[str]) -> list[asyncpg.Record]:
    """Return the events called one of ``names`` after ``after`` and not after ``upto``, and in any case the last.

    It may be fewer, one at least, where they have more than `READ_BYTES`; the next read goes on after the last. Each
    is a row as `recorded` takes it.
    """
    rows: list[asyncpg.Record] = await connection.fetch(READ, after, upto, names, READ_BYTES)
    return rows


def recorded(row: asyncpg.Record) -> RecordedEvent:
    """Make a Struct of a row of `read`."""
    return RecordedEvent(*row[:7])


def is_missing(error: Exception) -> bool:
    """Return whether ``ledger.append`` refused since ordinals before these are missing.

    The log has lost what it had acknowledged then, or it is another log.
    """
    return isinstance(error, asyncpg.DataError) and "events are missing" in str(error)


async def head(connection: asyncpg.Connection) -> int:
    """Return the position of the log's last event, 0 when it is empty."""
    position: int = await connection.fetchval("SELECT position FROM ledger.head")
    return position
