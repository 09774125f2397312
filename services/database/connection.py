"""Connections to PostgreSQL, and the schema that Ringledger needs there."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import msgspec

from services.database.compatible import check, migrations
from services.database.faults import UNREACHABLE
from services.database.locks import Lock, locked

__all__ = ["UNREACHABLE", "connect", "create_pool", "migrate", "snapshot"]

CONNECT_SECONDS = 10.0
LOCK_TIMEOUT = "30s"
"""Commands and processes wait so long for a lock; the API has less (services/database/pool.py)."""
MIGRATE_LOCK_TIMEOUT = "10s"
SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', $1, false)"


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
    """Open one connection; ``settings`` are server settings such as search_path. Raises one of UNREACHABLE."""
    defaults = {"application_name": "ringledger", "lock_timeout": LOCK_TIMEOUT}
    connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, server_settings={**defaults, **settings})
    await _prepare(connection)
    return connection


async def create_pool(
    url: str, *, size: int, watch: Callable[[asyncpg.Connection], None] | None = None, **settings: str
) -> asyncpg.Pool:
    """Make a pool of up to ``size`` connections; they are opened when they are wanted, so the server may come later.

    ``watch`` is given every new connection.
    """

    async def prepare(connection: asyncpg.Connection) -> None:
        if watch is not None:
            watch(connection)
        await _prepare(connection)

    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        init=prepare,
        timeout=CONNECT_SECONDS,
        server_settings={"application_name": "ringledger", **settings},
    )


@asynccontextmanager
async def snapshot(connection: asyncpg.Connection, *, readonly: bool = True) -> AsyncIterator[None]:
    """One moment of rows, checkpoints and tables: a REPEATABLE READ transaction during which no table is swapped.

    Isolation alone does not do it. Names are looked up in the newest catalog, so a table that was swapped in after
    the transaction's snapshot is found, with the rows that it held then: too few, or none.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=readonly):
        # What swaps tables takes this lock alone (services/projector/swap.py).
        # A query takes its snapshot before its locks, so the first one would be too late.
        await connection.execute("LOCK TABLE ledger.checkpoint IN ACCESS SHARE MODE")
        yield


async def migrate(connection: asyncpg.Connection) -> list[str]:
    """Apply the numbered files of ``services/database/migrations`` that this database has not seen; return their names.

    Processes that start together wait for each other. Raises RuntimeError if an applied file was edited since,
    NewerError, and LockNotAvailableError when another migration, or whatever uses a table, takes too long.
    """
    before: str = await connection.fetchval("SHOW lock_timeout")
    await connection.execute(SET_LOCK_TIMEOUT, MIGRATE_LOCK_TIMEOUT)
    try:
        async with locked(connection, Lock.SCHEMA):
            return await _apply(connection)
    finally:
        if not connection.is_closed():
            await connection.execute(SET_LOCK_TIMEOUT, before)


async def _apply(connection: asyncpg.Connection) -> list[str]:
    applied: list[str] = []
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS ringledger_migration"
        " (name text PRIMARY KEY, text text NOT NULL, applied timestamptz NOT NULL DEFAULT now())",
    )
    seen = dict(await connection.fetch("SELECT name, text FROM ringledger_migration"))
    await check(connection)
    for name, text in migrations():
        if name not in seen:
            async with connection.transaction():
                await connection.execute(text)
                await connection.execute("INSERT INTO ringledger_migration (name, text) VALUES ($1, $2)", name, text)
            applied.append(name)
        elif seen[name] != text:
            raise RuntimeError(f"{name} was applied to this database with another text")
    return applied
