"""Creates the schema of a database and upgrades it: the numbered files of ``services/database/migrations``, in order.

`SCHEMA` is the whole schema as of its number and replaces all earlier migrations. In a database that has those,
`UPGRADE` runs before it. The table ringledger_migration has the name and text of each applied file.
"""

from importlib.resources import files

import asyncpg

from services.database.compatible import SCHEMA, check, migrations
from services.database.locks import Lock, locked

UPGRADE = "upgrade_to_0020.sql"

LOCK_TIMEOUT = "10s"
SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', $1, false)"
TABLE = """
CREATE TABLE IF NOT EXISTS ringledger_migration
    (name text PRIMARY KEY, text text NOT NULL, applied timestamptz NOT NULL DEFAULT now())
"""
APPLIED = "SELECT name, text FROM ringledger_migration"
INSERT = "INSERT INTO ringledger_migration (name, text) VALUES ($1, $2)"


async def migrate(connection: asyncpg.Connection) -> list[str]:
    """Apply the files that this database does not have; return their names.

    Processes that start together wait for each other. Raises RuntimeError if an applied file has changed since,
    IncompatibleError, and LockNotAvailableError if another migration, or a user of a table, takes too long.
    """
    before: str = await connection.fetchval("SHOW lock_timeout")
    await connection.execute(SET_LOCK_TIMEOUT, LOCK_TIMEOUT)
    try:
        async with locked(connection, Lock.SCHEMA):
            return await _apply(connection)
    finally:
        if not connection.is_closed():
            await connection.execute(SET_LOCK_TIMEOUT, before)


async def _apply(connection: asyncpg.Connection) -> list[str]:
    names: list[str] = []
    await connection.execute(TABLE)
    applied = dict(await connection.fetch(APPLIED))
    await check(connection)
    for name, text in migrations():
        if name not in applied:
            async with connection.transaction():
                if name == SCHEMA and applied:
                    await connection.execute(_text(UPGRADE))
                await connection.execute(text)
                await connection.execute(INSERT, name, text)
            names.append(name)
        elif applied[name] != text:
            raise RuntimeError(
                f"{name} was applied to this database with another text; run the program that applied it"
            )
    return names


def _text(name: str) -> str:
    return files("services.database").joinpath("migrations", name).read_text(encoding="utf-8")
