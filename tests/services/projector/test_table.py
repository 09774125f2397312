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


class Values(Row):
    """A row with every type of column."""

    name: str
    text: str | None = None
    number: int | None = None
    share: float | None = None
    is_set: bool | None = None
    at: datetime | None = None
    pairs: dict[str, Any] | None = None
    words: list[Any] = field(default_factory=list)


AT = datetime(2026, 11, 23, 8, 9, 10, 123456, UTC)
ODD = '\u00fc \U0001f4de "quoted" back\\slash\ttab \r\n \x01 \x7f \ufffd \ud7ff null {}'
VALUES = [
    Values("pbx", AT, "none"),
    Values("pbx", AT, "empty", "", 0, 0.0, is_set=False, at=AT, pairs={}),
    Values(
        "pbx",
        AT,
        ODD,
        ODD,
        2**63 - 1,
        0.1,
        is_set=True,
        at=AT.replace(microsecond=0),
        pairs={ODD: [None, ODD]},
        words=[ODD, 1.5],
    ),
    Values("pbx", AT, "least", "null", -(2**63), -1e300, at=datetime(1970, 1, 1, tzinfo=UTC), pairs={"a": {"b": 1e-9}}),
]

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


async def test_json_and_arrays_write_the_same_rows(url: str) -> None:
    connection = await connect(url, search_path="model")
    for name in ("by_arrays", "by_json"):
        table = RowTable(name, Values, ("name",))
        await connection.execute(table.create)
        for rows in ([Values("pbx", AT, "least")], VALUES):  # the second time, one of them is there already
            if name == "by_json":
                await connection.execute(table.upsert_json, table.json(rows))
            else:
                await connection.execute(table.upsert, *table.arrays(rows))
        read = {row.name: row for row in table.rows(await connection.fetch(f"SELECT * FROM {name}"))}
        assert read == {row.name: row for row in VALUES}
    differing = "SELECT count(*) FROM (SELECT a::text FROM by_arrays a EXCEPT SELECT j::text FROM by_json j) AS d"
    assert await connection.fetchval(differing) == 0
    await connection.close()
