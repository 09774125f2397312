"""The next batch is read while one is folded and written; each event still counts once, and none waits."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from services.database.connection import connect
from services.database.errors import DATABASE_ERRORS
from services.log.read import READ
from services.projector.projector import Projector
from tests.support.note_model import NoteWriter, break_at_three, note_rows, notes, overflow_at_three


class Reader:
    """A connection that notes which ranges of the log are read over it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.ranges: list[tuple[Any, ...]] = []

    async def fetchval(self, query: str) -> Any:
        return await self.connection.fetchval(query)

    async def fetch(self, query: str, *arguments: Any) -> Any:
        if query == READ:
            self.ranges.append(arguments[:2])
        return await self.connection.fetch(query, *arguments)


async def projector_with(connection: asyncpg.Connection, reader: Any) -> Projector:
    projector = Projector(connection, [notes()], reader=reader)
    await projector.open()
    return projector


async def test_whole_batches_are_read_ahead_once(connection: asyncpg.Connection, writer: NoteWriter, url: str) -> None:
    reader = Reader(await connect(url, search_path="model, ledger"))
    await writer.write_notes("a", "b", "a", "c", "a")
    projector = await projector_with(connection, reader)
    assert [await projector.advance(2) for _ in range(4)] == [2, 2, 1, 0]
    await projector.close()
    assert reader.ranges == [(2, 4), (4, 6)]
    assert await note_rows(connection, "model.notes") == {"a": (3, 3), "b": (1, 1), "c": (1, 1)}
    await reader.connection.close()


async def test_events_after_an_empty_read_are_folded(
    connection: asyncpg.Connection, writer: NoteWriter, url: str
) -> None:
    reader = Reader(await connect(url, search_path="model, ledger"))
    await writer.write_notes("a", "b")
    projector = await projector_with(connection, reader)
    assert await projector.advance(2) == 2
    await projector.events.reading()  # it returns nothing
    await writer.write_notes("c")
    assert await projector.advance(2) == 1
    assert reader.ranges == [(2, 4)]
    await reader.connection.close()


async def test_another_limit_discards_what_was_read(
    connection: asyncpg.Connection, writer: NoteWriter, url: str
) -> None:
    reader = await connect(url, search_path="model, ledger")
    await writer.write_notes("a", "b", "a", "c", "a")
    projector = await projector_with(connection, reader)
    assert [await projector.advance(2), await projector.advance(1), await projector.advance(5)] == [2, 1, 2]
    await projector.close()
    assert await note_rows(connection, "model.notes") == {"a": (3, 3), "b": (1, 1), "c": (1, 1)}
    await reader.close()


async def test_an_error_of_the_reader_ends_the_batch(
    connection: asyncpg.Connection, writer: NoteWriter, url: str
) -> None:
    reader = await connect(url, search_path="model, ledger")
    await writer.write_notes("a", "b", "a", "c")
    projector = await projector_with(connection, reader)
    assert await projector.advance(2) == 2
    reader.terminate()
    with pytest.raises(DATABASE_ERRORS):
        await projector.advance(2)
    await projector.close()
    assert await note_rows(connection, "model.notes") == {"a": (1, 1), "b": (1, 1)}


async def test_a_reader_of_another_server_is_unused(connection: asyncpg.Connection, writer: NoteWriter) -> None:
    class Other:
        async def fetchval(self, _query: str) -> datetime:
            return datetime(2026, 1, 1, tzinfo=UTC)

    await writer.write_notes("a", "b", "a", "c")
    projector = await projector_with(connection, Other())
    assert [await projector.advance(2) for _ in range(3)] == [2, 2, 0]


async def test_a_stop_takes_back_the_batch(connection: asyncpg.Connection, writer: NoteWriter, url: str) -> None:
    reader = await connect(url, search_path="model, ledger")
    await writer.write_notes("a", "b", "a", "a")
    projector = Projector(connection, [notes(), notes(break_at_three, "others")], reader=reader)
    await projector.open()
    assert await projector.advance(2) == 2
    assert await projector.advance(2) == 1  # one model has stopped
    assert await note_rows(connection, "model.notes") == {"a": (1, 1), "b": (1, 1)}
    assert [await projector.advance(2) for _ in range(2)] == [2, 0]
    await projector.close()
    assert await note_rows(connection, "model.notes") == {"a": (3, 3), "b": (1, 1)}
    assert await note_rows(connection, "model.others") == {"a": (1, 1), "b": (1, 1)}
    assert list(projector.stopped) == ["others"]
    await reader.close()


async def test_a_failed_write_stops_its_model(connection: asyncpg.Connection, writer: NoteWriter, url: str) -> None:
    reader = await connect(url, search_path="model, ledger")
    await writer.write_notes("a", "b", "a", "a")
    projector = Projector(connection, [notes(overflow_at_three, "big"), notes()], reader=reader)
    await projector.open()
    assert [await projector.advance(2) for _ in range(4)] == [2, 1, 2, 0]
    await projector.close()
    assert await note_rows(connection, "model.notes") == {"a": (3, 3), "b": (1, 1)}
    assert await note_rows(connection, "model.big") == {"a": (1, 1), "b": (1, 1)}
    assert list(projector.stopped) == ["big"]
    await reader.close()
