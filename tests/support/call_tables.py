"""The tables of calls and of their figures, filled with rows instead of events."""

from collections.abc import Iterator
from typing import Any

import asyncpg

from projections.calls.calls import CALLS
from projections.queues.agent_names import AGENT_NAMES
from projections.queues.agent_sessions import AGENT_SESSIONS
from services.projector.table import RowTable, Table

MODELS = {model.name: model for model in (CALLS, AGENT_SESSIONS, AGENT_NAMES)}


def _tables() -> Iterator[tuple[RowTable, tuple[str, ...]]]:
    for model in MODELS.values():
        table = Table(model, "model")
        yield table, model.indexes
        yield from zip(table.derived, [derived.indexes for derived in model.derived], strict=True)


TABLES = {table.bare_name: (table, indexes) for table, indexes in _tables()}

CHECKPOINT = """
INSERT INTO ledger.checkpoint (place, model, version, position, changed)
SELECT 'model', $1, $2, position, position FROM ledger.head
ON CONFLICT DO NOTHING
"""
INDEXES = "SELECT indexname FROM pg_indexes WHERE schemaname = 'model' AND tablename = ANY ($1::text[])"


async def create_tables(connection: asyncpg.Connection, *models: str) -> None:
    """Create the tables of the models, of all if none is named, and let the API serve them."""
    for name in models or MODELS:
        table, _ = TABLES[name]
        if await connection.fetchval("SELECT to_regclass($1)", table.name) is None:
            await connection.execute(table.create)
        await connection.execute(CHECKPOINT, name, MODELS[name].version)


async def put_rows(connection: asyncpg.Connection, name: str, rows: list[Any]) -> None:
    """Write rows of a table."""
    table, _ = TABLES[name]
    await connection.execute(table.upsert, *table.arrays(rows))


async def drop_indexes(connection: asyncpg.Connection, *names: str) -> None:
    """Drop all indexes of empty tables, and leave them out of the write-ahead log: rows are written faster so."""
    for name in names:
        await connection.execute(f"ALTER TABLE {name} DROP CONSTRAINT {name}_pkey; ALTER TABLE {name} SET UNLOGGED")
    for row in await connection.fetch(INDEXES, list(names)):
        await connection.execute(f"DROP INDEX model.{row['indexname']}")


async def make_indexes(connection: asyncpg.Connection, *names: str) -> None:
    """Create the indexes that are missing, and let the planner know the rows."""
    await connection.execute("SET maintenance_work_mem = '512MB'")
    present = {row["indexname"] for row in await connection.fetch(INDEXES, list(names))}
    for name in names:
        table, indexes = TABLES[name]
        if f"{name}_pkey" not in present:
            await connection.execute(f"ALTER TABLE {name} ADD PRIMARY KEY ({', '.join(table.key)})")
        for index in indexes:
            text = index.format(table=table.name, name=name)
            await connection.execute(text.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS"))
    await connection.execute(f"VACUUM ANALYZE {', '.join(names)}")
