"""The rows of the read models, for tests that compare them."""

import asyncpg

from projections import ALL
from services.projector.table import Table


async def rows(connection: asyncpg.Connection) -> dict[str, list[asyncpg.Record]]:
    """Return every row of every served model, in the order of keys."""
    return {
        model.name: await connection.fetch(
            f"SELECT * FROM {Table(model, 'model').name} ORDER BY {', '.join(('pbx', *model.key))}"
        )
        for model in ALL
    }
