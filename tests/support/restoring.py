"""A database that is put back to what it was, under processes that go on, as an operator restores a backup."""

from typing import Self
from urllib.parse import urlsplit

import asyncpg

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"


class Backup:
    """A copy of the database at ``url``, made by `take`; `restore` puts it in the place of the database, once."""

    def __init__(self, url: str) -> None:
        self._name = urlsplit(url).path[1:]
        self._server = url.replace(f"/{self._name}?", "/postgres?")

    async def __aenter__(self) -> Self:
        self._connection = await asyncpg.connect(self._server)
        return self

    async def __aexit__(self, *_: object) -> None:
        for kind in ("backup", "lost"):
            await self._connection.execute(f"DROP DATABASE IF EXISTS {self._name}_{kind} WITH (FORCE)")
        await self._connection.close()

    async def take(self) -> None:
        await self._close()
        copy = f"CREATE DATABASE {self._name}_backup TEMPLATE {self._name} STRATEGY FILE_COPY"
        await self._connection.execute(copy)
        await self._connection.execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true")

    async def restore(self) -> None:
        await self._close()
        await self._connection.execute(f"ALTER DATABASE {self._name} RENAME TO {self._name}_lost")
        await self._connection.execute(f"ALTER DATABASE {self._name}_backup RENAME TO {self._name}")

    async def _close(self) -> None:
        """Cut all connections to the database, and allow no new ones."""
        await self._connection.execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false")
        await self._connection.execute(TERMINATE, self._name)


REWIND = """
WITH kept AS (SELECT last, hash FROM ledger.batch WHERE last = $1),
lost AS (DELETE FROM ledger.event USING kept WHERE position > kept.last),
batches AS (DELETE FROM ledger.batch USING kept WHERE ledger.batch.last > kept.last),
head AS (UPDATE ledger.head SET position = kept.last, hash = kept.hash FROM kept),
writers AS (
    SELECT c.pbx, c.connection, coalesce(max(e.ordinal), 0) AS ordinal
    FROM ledger.connection c
    LEFT JOIN ledger.event e ON e.pbx = c.pbx AND e.connection = c.connection AND e.position <= $1
    GROUP BY 1, 2
)
UPDATE ledger.connection c SET last_ordinal = w.ordinal
FROM writers w, kept WHERE (c.pbx, c.connection) = (w.pbx, w.connection)
"""


async def rewind(connection: asyncpg.Connection, position: int) -> None:
    """Take all that comes after a batch out of the log, under connections that stay as they are."""
    assert await connection.execute(REWIND, position) != "UPDATE 0"
