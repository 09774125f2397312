"""A small read model, notes counted by name, with folds that fail, and a writer of its events."""

import time
from typing import Any

import asyncpg
import msgspec
from msgspec import field
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami import AmiEvent, Int
from schemas.log import NewEvent, RingledgerEvent
from services.asterisk.ami.protocol import LedgerProtocol
from services.log.append import append_events


class NoteEvent(AmiEvent, frozen=True, kw_only=True, gc=False):
    name: str = field(name="Name", default="")
    size: Int = field(name="Size", default=0)


class Note(Row):
    name: str
    times: int = 0
    size: int = 0


def by_name(e: NoteEvent) -> Key:
    return (e.name,)


def add_note(row: Note | None, e: NoteEvent) -> Note:
    row = row or Note(pbx=e.pbx, tm_update=e.at, name=e.name)
    return replace(row, times=row.times + 1, size=row.size + e.size)


def add_double(row: Note | None, e: NoteEvent) -> Note:
    return replace(add_note(row, e), size=(row.size if row else 0) + 2 * e.size)


def break_at_three(row: Note | None, e: NoteEvent) -> Note:
    if row and row.times == 2:
        raise KeyError("three")
    return add_note(row, e)


def overflow_at_three(row: Note | None, e: NoteEvent) -> Note:
    return replace(add_note(row, e), size=2**70 if row and row.times == 2 else 1)


def notes(fold: Any = add_note, name: str = "notes", version: int = 1) -> ReadModel:
    lists = {"Notes": None}
    on = {"Note": Handler(NoteEvent, by_name, fold)}
    return ReadModel(name=name, version=version, row=Note, key=("name",), on=on, lists=lists)


async def note_rows(connection: asyncpg.Connection, table: str = "notes") -> dict[str, tuple[int, int]]:
    """Return times and size of each name."""
    return {r["name"]: (r["times"], r["size"]) for r in await connection.fetch(f"SELECT * FROM {table}")}


class NoteWriter:
    """A writer that appends events to the log."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._next = 1

    async def write(self, *events: NewEvent) -> None:
        await append_events(self._connection, "pbx", 1, self._next, events)
        self._next += len(events)

    async def write_notes(self, *names: str, size: str = "1", action_id: str = "") -> None:
        """Append a Note for each name; with an ``action_id`` they are items of a list."""
        more = f"ActionID: {action_id}\r\n" if action_id else ""
        raws = [f"Event: Note\r\nName: {name}\r\nSize: {size}\r\n{more}\r\n".encode() for name in names]
        await self.write(*(NewEvent("ami", "Note", None, time.time(), raw) for raw in raws))

    async def write_wire(self, data: bytes) -> None:
        """Append the events of AMI bytes."""
        received: list[NewEvent] = []
        protocol = LedgerProtocol(received.extend, lambda _: None)
        protocol.closed = False
        protocol.data_received(data)
        await self.write(*received)

    async def write_own(self, event: RingledgerEvent) -> None:
        """Append an event of Ringledger."""
        raw = msgspec.json.encode(event)
        await self.write(NewEvent("ringledger", type(event).__name__, None, time.time(), raw))
