"""Appends events to the log. The SQL function ``ledger.append`` (``services/database/migrations``) does the work."""

import os
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

import asyncpg
from msgspec import Struct

from schemas.log import NewEvent, Source
from services.log.chain import SALT_BYTES, leaf, split

APPEND = "SELECT ledger.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"

Columns = tuple[Any, ...]
"""The arguments of ``ledger.append`` from ``p_sources`` on."""


class Seals(Struct, frozen=True):
    """The times of events in microseconds since the epoch, their leaves, and their salts in one piece."""

    occurred: list[int | None]
    recorded: list[int]
    leaves: list[bytes]
    salts: bytes


class EventContent(Protocol):
    """An event without its times."""

    @property
    def source(self) -> Source:
        """Where the event comes from."""

    @property
    def name(self) -> str:
        """The event's name."""

    @property
    def raw(self) -> bytes:
        """The event's bytes, secrets masked."""


def seal(events: Sequence[NewEvent]) -> Seals:
    """Salt and hash events.

    Raises ValueError or OverflowError for a time that is not finite, or a name that is not valid Unicode.
    """
    occurred = [None if e.occurred is None else int(e.occurred * 1e6 + 0.5) for e in events]
    return seal_microseconds(occurred, [int(e.recorded * 1e6 + 0.5) for e in events], events)


def seal_microseconds(occurred: list[int | None], recorded: list[int], events: Sequence[EventContent]) -> Seals:
    """Salt and hash events whose times are microseconds since the epoch."""
    salts = os.urandom(SALT_BYTES * len(events))
    leaves = [
        leaf(s, o, r, e.source, e.name, e.raw)
        for s, o, r, e in zip(split(salts, SALT_BYTES), occurred, recorded, events, strict=True)
    ]
    return Seals(occurred, recorded, leaves, salts)


async def append_events(
    connection: asyncpg.Connection, pbx: str, writer: int, first: int, events: Sequence[NewEvent]
) -> int:
    """Append events as ordinals ``first``... of (pbx, writer); return the last position once it is durable.

    May be repeated after any failure: events that are in the log already are left out. Raises asyncpg.DataError if
    ordinals before ``first`` are missing (`is_missing_ordinals`), and asyncpg.LockNotAvailableError if another writer
    fenced this one off before the last of the events was recorded. Raises the errors of `seal`.
    """
    return await append_columns(connection, (pbx, writer, first), to_columns(events, seal(events)))


async def append_columns(connection: asyncpg.Connection, start: tuple[str, int, int], columns: Columns) -> int:
    """Append as `append_events` does; ``start`` is its (pbx, writer, first)."""
    position: int = await connection.fetchval(APPEND, *start, *columns)
    return position


def to_columns(events: Sequence[EventContent], seals: Seals) -> Columns:
    """Return the arguments of ``ledger.append`` for these events."""
    kinds: dict[tuple[str, str], int] = {}
    kind = [kinds.setdefault((e.source, e.name), len(kinds) + 1) for e in events]
    return (
        [source for source, _ in kinds],
        [name for _, name in kinds],
        kind,
        seals.occurred,
        seals.recorded,
        list(accumulate([len(e.raw) for e in events])),
        b"".join([e.raw for e in events]),
        b"".join(seals.leaves),
        seals.salts,
    )


def is_missing_ordinals(error: Exception) -> bool:
    """Return whether ``ledger.append`` refused because earlier ordinals of the writer are missing.

    Then the log has lost acknowledged events, or it is another log.
    """
    return isinstance(error, asyncpg.DataError) and "events are missing" in str(error)
