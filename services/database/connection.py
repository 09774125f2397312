"""Connections to PostgreSQL."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import msgspec

CONNECT_SECONDS = 10.0
LOCK_TIMEOUT = "30s"
"""Time limit of commands and processes for a lock; the API has a shorter one (services/database/pool.py)."""


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
    """Return a pool of up to ``size`` connections, which it opens on demand: the server may start later.

    The pool calls ``watch`` with every new connection.
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
    """Open a REPEATABLE READ transaction during which no table is swapped: one moment of rows, checkpoints and tables.

    Isolation alone is not enough, because PostgreSQL looks up names in the newest catalog. The transaction would see
    a table that was swapped in after its snapshot, with the rows of the snapshot: too few, or no rows.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=readonly):
        # The swap of a table takes this lock exclusively (services/projector/swap.py). A query takes its snapshot
        # before its locks, so a lock in the first query would be too late.
        await connection.execute("LOCK TABLE ledger.checkpoint IN ACCESS SHARE MODE")
        yield
