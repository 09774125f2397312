"""The rows of the read models, for tests that compare them."""

import asyncpg

from projections import ALL
from services.projector.table import Table


async def rows(connection: asyncpg.Connection) -> dict[str, list[asyncpg.Record]]:
    """Return every row of every served table, in the order of keys."""
    tables = [one for model in map(Table, ALL) for one in (model, *model.derived)]
    order = {table.bare_name: ", ".join(table.key) for table in tables}
    return {name: await connection.fetch(f"SELECT * FROM model.{name} ORDER BY {key}") for name, key in order.items()}
