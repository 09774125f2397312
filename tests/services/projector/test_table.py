"""Rows are written to a model's table and read back unchanged."""

from datetime import UTC, datetime
from typing import Any

from msgspec import field

from projections.engine.derived import DerivedRow
from projections.engine.model import ReadModel, Row
from services.database.connection import connect
from services.projector.table import RowTable, Table


class Listing(Row):
    name: str
    words: list[str] = field(default_factory=list)
    pairs: dict[str, Any] = field(default_factory=dict)


class Pair(DerivedRow, kw_only=True):
    near: str = ""
    far: str


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


async def test_rows_with_keywords_only_are_read_back_unchanged(url: str) -> None:
    table = RowTable("sides", Pair, ("far",))
    connection = await connect(url, search_path="model")
    await connection.execute(table.create)
    rows = [Pair(pbx="pbx", near="a", far="b"), Pair(pbx="pbx", far="c")]
    await connection.execute(table.upsert, *table.arrays(rows))
    assert (
        table.rows(await connection.fetch(f"SELECT {', '.join(table.columns)} FROM sides ORDER BY 1, 2 DESC")) == rows
    )
    await connection.close()


async def test_rows_of_key_columns_may_be_written_twice(url: str) -> None:
    table = RowTable("sides", Pair, ("near", "far"))
    connection = await connect(url, search_path="model")
    await connection.execute(table.create)
    for _ in range(2):
        await connection.execute(table.upsert, *table.arrays([Pair(pbx="pbx", near="a", far="b")]))
    assert await connection.fetchval("SELECT count(*) FROM sides") == 1
    await connection.close()
