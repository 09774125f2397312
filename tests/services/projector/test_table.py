"""Rows are written to a model's table and read back unchanged."""

from datetime import UTC, datetime
from typing import Any

from msgspec import field

from projections.engine.model import ReadModel, Row
from services.database.connection import connect
from services.projector.table import Table


class Listing(Row):
    name: str
    words: list[str] = field(default_factory=list)
    pairs: dict[str, Any] = field(default_factory=dict)


LISTING = ReadModel(name="listing", version=1, row=Listing, key=("name",), on={})


async def test_lists_and_maps_are_read_back_unchanged(url: str) -> None:
    table = Table(LISTING)
    connection = await connect(url, search_path="model")
    await connection.execute(table.create)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    rows = [
        Listing("pbx", now, "empty"),
        Listing("pbx", now, "one", ["a"], {"a": 1}),
        Listing("pbx", now, "two", ["b", "ü"], {"b": [1, 2]}),
    ]
    await connection.execute(table.upsert, *table.arrays(rows))
    assert table.rows(await connection.fetch("SELECT * FROM listing ORDER BY name")) == rows
    await connection.close()
