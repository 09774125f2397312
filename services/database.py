"""Connections to PostgreSQL, and the schema that Ringledger needs there."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import asyncpg
import msgspec

SCHEMA_LOCK = 7310002

UNREACHABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
)
"""What is raised when PostgreSQL is away, starting or stopping: it may answer later. (TimeoutError is an OSError.)

asyncpg says InternalClientError when a connection ends between two messages of one query.
"""


async def _prepare(connection: asyncpg.Connection) -> None:
    # jsonb travels as bytes that msgspec reads and writes; asyncpg's default is text and the stdlib's json.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),
        decoder=lambda data: msgspec.json.decode(data[1:]),
    )


async def connect(url: str, **settings: str) -> asyncpg.Connection:
    """Open one connection; ``settings`` are server settings such as search_path."""
    connection = await asyncpg.connect(url, server_settings={"application_name": "ringledger", **settings})
    await _prepare(connection)
    return connection


async def create_pool(url: str, *, size: int, **settings: str) -> asyncpg.Pool:
    """Make a pool of up to ``size`` connections; they are opened when they are wanted, so the server may come later."""
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        init=_prepare,
        server_settings={"application_name": "ringledger", **settings},
    )


@asynccontextmanager
async def snapshot(connection: asyncpg.Connection, *, readonly: bool = True) -> AsyncIterator[None]:
    """One moment of rows, checkpoints and tables: a REPEATABLE READ transaction during which no table is swapped.

    Isolation alone does not do it. Names are looked up in the newest catalog, so a table that was swapped in after
    the transaction's snapshot is found, with the rows that it held then: too few, or none.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=readonly):
        # What swaps tables takes this lock alone (services/swaps.py). A query takes its snapshot before its locks, so
        # the first one would be too late.
        await connection.execute("LOCK TABLE ledger.checkpoint IN ACCESS SHARE MODE")
        yield


async def migrate(connection: asyncpg.Connection) -> list[str]:
    """Apply the numbered files of ``services/sql`` that this database has not seen; return their names.

    Processes that start together wait for each other. Raises RuntimeError if an applied file was edited since.
    """
    applied: list[str] = []
    await connection.execute("SELECT pg_advisory_lock($1)", SCHEMA_LOCK)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS ringledger_migration"
            " (name text PRIMARY KEY, text text NOT NULL, applied timestamptz NOT NULL DEFAULT now())",
        )
        seen = dict(await connection.fetch("SELECT name, text FROM ringledger_migration"))
        for name, text in _migrations():
            if name not in seen:
                async with connection.transaction():
                    await connection.execute(text)
                    await connection.execute(
                        "INSERT INTO ringledger_migration (name, text) VALUES ($1, $2)", name, text
                    )
                applied.append(name)
            elif seen[name] != text:
                raise RuntimeError(f"{name} was applied to this database with another text")
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", SCHEMA_LOCK)
    return applied


def _migrations() -> list[tuple[str, str]]:
    found = (path for path in files("services").joinpath("sql").iterdir() if path.name.endswith(".sql"))
    return sorted((path.name, path.read_text(encoding="utf-8")) for path in found)


Listener = Callable[[Any, int, str, str], None]
