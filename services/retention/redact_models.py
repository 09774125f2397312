"""What is made of the log forgets what the log has forgotten: read models are built anew from it, saved states go.

Built anew and not edited: rows may become one when their keys do, sums would have to be added up, and what a model
remembers besides its rows is known to its folds only. A fold of the redacted log is the truth by definition.
"""

import asyncio

import asyncpg

from projections import ALL
from services.database import connection as database
from services.database import locks
from services.database.locks import Lock
from services.projector import stale_states
from services.projector.projector import Projector
from services.projector.table import Table
from services.retention.redact_pattern import Wanted
from services.runtime.progress import Bar

RETRY_SECONDS = 0.5
PAUSE_SECONDS = 0.05
NOTICE_SECONDS = 1.2
"""API processes look at the checkpoints once a second at least, so by then none serves what it has kept."""

STALE = "SELECT model FROM ledger.stale JOIN ledger.checkpoint USING (model) WHERE place = 'model'"
# A table of version 0 is rebuilt by the next projector (`stale_states.discard_stale`).
OUTDATED = "SELECT model FROM ledger.checkpoint WHERE version = 0 AND place = 'model'"
MARK = "INSERT INTO ledger.stale SELECT unnest($1::text[]), 1 ON CONFLICT DO NOTHING"
UNMARK = "DELETE FROM ledger.stale"
HOLDER = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = $1::bigint::oid AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> $2
"""
ROWS = """
SELECT row_to_json(t)::text FROM {table} t WHERE convert_to(row_to_json(t)::text, 'UTF8') LIKE ANY ($1::bytea[])
"""
STATES = "SELECT model, state::text FROM ledger.checkpoint WHERE place = 'model'"
UNFIT = "SELECT DISTINCT model, error FROM ledger.unfit"
SAVED_STATES = """
SELECT model, state::text FROM ledger.saved WHERE convert_to(state::text, 'UTF8') LIKE ANY ($1::bytea[])
UNION ALL
SELECT model, rows::text FROM ledger.saved_rows WHERE convert_to(rows::text, 'UTF8') LIKE ANY ($1::bytea[])
"""


class UnfinishedError(Exception):
    """Something is still to be done; the message says what, and running the command again goes on with it."""


class Forgetting:
    """Finds which read models hold something, and has them forget it."""

    def __init__(self, connection: asyncpg.Connection, wanted: Wanted, token: str) -> None:
        self._connection = connection
        self._wanted = wanted
        self._token = token

    async def stale(self) -> list[str]:
        """Return the models that have folded what no longer stands in the log, and have not been built anew since."""
        rows = [*await self._connection.fetch(STALE), *await self._connection.fetch(OUTDATED)]
        return sorted({row[0] for row in rows})

    async def holding(self) -> list[str]:
        """Return the models whose rows, memory, faults or saved states hold it: looks at every row of all."""
        found: set[str] = set()
        patterns = self._wanted.patterns
        there = dict(await self._connection.fetch(STATES))
        for model in ALL:
            if model.name in there:
                table = Table(model, "model").name
                rows = await self._connection.fetch(ROWS.format(table=table), patterns)
                if self._in_json(there[model.name]) or any(self._in_json(row[0]) for row in rows):
                    found.add(model.name)
        found |= {name for name, error in await self._connection.fetch(UNFIT) if self._in_text(error)}
        saved = await self._connection.fetch(SAVED_STATES, patterns)
        found |= {name for name, text in saved if self._in_json(text)}
        return sorted(found)

    def _in_json(self, text: str) -> bool:
        return self._wanted.is_in("ringledger", text.encode())

    def _in_text(self, text: str) -> bool:
        return self._wanted.is_in("", text.encode())

    async def build_anew(self, url: str, models: list[str]) -> None:
        """Fold these models from the beginning of the log, beside those that are served, and put them in their place.

        The projector is sent away and this process projects instead, all models, until that is done; then the
        projector finds the lock free again. Raises UnfinishedError.
        """
        connection = await database.connect(url, search_path="model, ledger")
        try:
            await self._take_over(connection)
            async with connection.transaction():
                await connection.execute(MARK, models)
                await stale_states.discard_stale(connection)
                await stale_states.rewrite_pinned(connection, self._wanted.patterns, self._rewrite)
                await connection.execute(UNMARK)
            projector = Projector(connection, ALL)
            await projector.open()
            await _until_served(projector, models)
        finally:
            await connection.close()
        await asyncio.sleep(NOTICE_SECONDS)

    def _rewrite(self, text: str) -> str:
        return self._wanted.rewritten("ringledger", "", text.encode(), self._token).decode()

    async def _take_over(self, connection: asyncpg.Connection) -> None:
        """Take the projector's lock. Who waits in its queue has it before those who come by and try."""
        waiting = asyncio.ensure_future(connection.execute(locks.LOCK, Lock.PROJECTOR))
        try:
            while not waiting.done():
                await self._connection.execute(HOLDER, Lock.PROJECTOR, connection.get_server_pid())
                await asyncio.wait([waiting], timeout=RETRY_SECONDS)
        finally:
            if not waiting.done():
                waiting.cancel()
        await waiting

    async def wipe(self, tables: list[str]) -> None:
        """Have PostgreSQL clear away the old versions of rows that were changed."""
        for table in (*tables, "ledger.checkpoint", "ledger.unfit", "ledger.saved", "ledger.saved_rows"):
            await self._connection.execute(f"VACUUM {table}")


async def _until_served(projector: Projector, models: list[str]) -> None:
    with Bar("folding anew") as progress:
        while building := [f.position for f in projector.cursors if f.schema == "rebuild"]:
            if await projector.advance() == 0:
                await asyncio.sleep(PAUSE_SECONDS)
            progress.show(min(building), max(f.position for f in projector.cursors))
    if stopped := [name for name in models if name in projector.stopped]:
        raise UnfinishedError(f"{', '.join(stopped)} cannot be folded anew and is still served as it was; see /readyz")
