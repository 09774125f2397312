"""Removes redacted text from the read models: they are rebuilt from the redacted log, and saved states are deleted.

They are rebuilt because an edit cannot be correct: two rows may become one when their keys do, sums would have to be
added, and only the folds know the model's state. A fold of the redacted log is correct by definition.
"""

import asyncio

import asyncpg
import msgspec

from projections import ALL
from projections.engine.derived import Parts, rows_of
from services.database import locks
from services.database.connection import connect
from services.database.locks import Lock
from services.projector import redaction as stored
from services.projector.projector import Projector
from services.projector.stale_states import rewrite_pinned
from services.projector.table import RowTable, Table
from services.retention.redact_pattern import RedactionPattern
from services.runtime.progress import ProgressBar

RETRY_SECONDS = 0.5
PAUSE_SECONDS = 0.05
NOTICE_SECONDS = 1.2
"""API processes read the checkpoints at least once a second; after this time none serves a cached response."""

END_LOCK_HOLDER = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = $1::bigint::oid AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> $2
"""
ROWS = """
SELECT row_to_json(t)::text FROM {table} t WHERE convert_to(row_to_json(t)::text, 'UTF8') LIKE ANY ($1::bytea[])
"""


class UnfinishedError(Exception):
    """A part of the work is not done; the message names it. A second run of the command does it."""


class ModelRedactor:
    """Finds the read models that contain a pattern, and rebuilds them from the redacted log."""

    def __init__(self, connection: asyncpg.Connection, pattern: RedactionPattern, token: str) -> None:
        self._connection = connection
        self._pattern = pattern
        self._token = token

    async def stale_models(self) -> list[str]:
        """Return the models that have folded redacted events, and have not been rebuilt since."""
        return await stored.stale_models(self._connection)

    async def affected_models(self) -> list[str]:
        """Return the models whose rows, state, faults or saved states contain the pattern. Reads every row."""
        names: set[str] = set()
        states = await stored.model_states(self._connection)
        for model in ALL:
            if model.name in states:
                table = Table(model, "model")
                texts = [states[model.name], *await self._texts(table)]
                if any(map(self._is_in_json, texts)) or await self._is_in_derived(table):
                    names.add(model.name)
        names |= {name for name, error in await stored.unfit_errors(self._connection) if self._is_in_text(error)}
        saved = await stored.saved_texts(self._connection, self._pattern.like_patterns)
        names |= {name for name, text in saved if self._is_in_json(text)}
        return sorted(names)

    async def _texts(self, table: RowTable) -> list[str]:
        rows = await self._connection.fetch(ROWS.format(table=table.name), self._pattern.like_patterns)
        return [row[0] for row in rows]

    async def _is_in_derived(self, table: Table) -> bool:
        """Return whether a table that follows from this one contains the pattern.

        The tag of a call may have the digits of a number that the log writes with a dash. That is another number. A
        rebuild would make the same tag of the same row, so a part that follows from its row does not count.
        """
        for derived, of_table in zip(table.model.derived, table.derived, strict=True):
            texts = [text for text in await self._texts(of_table) if self._is_in_json(text)]
            if texts and isinstance(derived, Parts):
                parts = [msgspec.json.decode(text, type=derived.row) for text in texts]
                keys = {(part.pbx, *(getattr(part, name) for name in table.model.key)) for part in parts}
                rows = await self._connection.fetch(table.select, *table.key_arrays(sorted(keys)))
                made = rows_of(derived, table.rows(rows))
                texts = [text for text, part in zip(texts, parts, strict=True) if part not in made]
            if texts:
                return True
        return False

    def _is_in_json(self, text: str) -> bool:
        return self._pattern.changes("ringledger", text.encode())

    def _is_in_text(self, text: str) -> bool:
        return self._pattern.changes("", text.encode())

    async def rebuild(self, url: str, models: list[str]) -> None:
        """Fold these models from the start of the log beside the served ones, and swap them in.

        This ends the projector's session, and projects all models itself until the swap; then the projector finds its
        lock free again. Raises UnfinishedError.
        """
        connection = await connect(url, search_path="model, ledger")
        try:
            await self._take_projector_lock(connection)
            async with connection.transaction():
                await stored.discard(connection, models)
                await rewrite_pinned(connection, self._pattern.like_patterns, self._redact_json)
                await stored.clear_marks(connection)
            projector = Projector(connection, ALL)
            await projector.open()
            await _project_until_served(projector, models)
        finally:
            await connection.close()
        await asyncio.sleep(NOTICE_SECONDS)

    def _redact_json(self, text: str) -> str:
        return self._pattern.redact("ringledger", "", text.encode(), self._token).decode()

    async def _take_projector_lock(self, connection: asyncpg.Connection) -> None:
        """Take the projector's lock. A session that waits for it comes before the projectors, which only try it."""
        waiting = asyncio.ensure_future(connection.execute(locks.LOCK, Lock.PROJECTOR))
        try:
            while not waiting.done():
                await self._connection.execute(END_LOCK_HOLDER, Lock.PROJECTOR, connection.get_server_pid())
                await asyncio.wait([waiting], timeout=RETRY_SECONDS)
        finally:
            if not waiting.done():
                waiting.cancel()
        await waiting

    async def vacuum(self, tables: list[str]) -> None:
        """Remove the old versions of changed rows from the tables' files."""
        for table in (*tables, *stored.TABLES):
            await self._connection.execute(f"VACUUM {table}")


async def _project_until_served(projector: Projector, models: list[str]) -> None:
    with ProgressBar("rebuilding") as progress:
        while building := [f.position for f in projector.cursors if f.schema == "rebuild"]:
            if await projector.advance() == 0:
                await asyncio.sleep(PAUSE_SECONDS)
            progress.show(min(building), max(f.position for f in projector.cursors))
    if stopped := [name for name in models if name in projector.stopped]:
        raise UnfinishedError(f"{', '.join(stopped)} cannot be rebuilt, and the old rows are still served; see /readyz")
