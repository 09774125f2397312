"""``ringledger rebuild --diff``: the rows that a rebuild with the present code would change.

The served tables are copied in one snapshot, with their checkpoints; then the log is folded up to these positions.
Both sides are temporary tables, which vanish with the connection, and PostgreSQL compares them.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg
from msgspec import Struct

from projections.engine.model import ReadModel
from services.database.connection import snapshot
from services.database.errors import NO_LEDGER, NO_LEDGER_MESSAGE, UNREACHABLE, explain
from services.log.archives import last_archived
from services.projector.batch import BatchWriter
from services.projector.cursor import ModelCursor, StoppedError
from services.projector.initial_state import NoInitialStateError, fill_table, read_initial_state
from services.projector.projector import Projector
from services.projector.rebuild.rebuild import RebuildError, connect_to_models
from services.projector.table import RowTable, Table
from services.runtime.progress import ProgressBar

MAX_SHOWN_ROWS = 20
"""Rows of one model in the report; all are counted."""
CHECKPOINTS = """
SELECT model, version, position FROM ledger.checkpoint WHERE place = 'model' AND model = ANY($1::text[])
"""
COLUMNS = "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped"


class RowDifference(Struct, frozen=True):
    """One row that differs: its columns on either side, None where the row does not exist."""

    key: list[str]
    served: dict[str, Any] | None
    rebuilt: dict[str, Any] | None


class Comparison(Struct):
    """One table of a model: the number of served rows, the number that differ, and the first `MAX_SHOWN_ROWS` of these.

    ``removed`` and ``added`` are columns of the served table only, and of the rebuilt one only; they are not compared.
    ``stopped`` is the place where the present code fails.
    """

    model: ReadModel
    table: RowTable
    version: int
    position: int
    rows: int = 0
    differing: int = 0
    shown: list[RowDifference] = []
    removed: list[str] = []
    added: list[str] = []
    stopped: str = ""

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.bare_name

    @property
    def differs(self) -> bool:
        """Whether a rebuild would change any row or column."""
        return bool(self.differing or self.removed or self.added or self.stopped)


class ReadOnlyWriter(BatchWriter):
    """A writer of rows only: checkpoints, saved states and rejected events stay as they are."""

    async def save(self, *_: object) -> None:
        """Write no checkpoint."""

    async def record_rejected(self, *_: object) -> None:
        """Record nothing; the projector does."""


class ScratchProjector(Projector):
    """A projector that folds into temporary tables of its connection, each model up to its position in ``until``."""

    async def open(self) -> None:
        """Create the tables at the start of the log."""
        for model in self._models:
            try:
                initial = await read_initial_state(self._connection, model)
            except NoInitialStateError as error:
                self.stopped[model.name] = str(error)
                continue
            cursor = ModelCursor(model, "pg_temp", initial.position, initial.changed, initial.state)
            await self._connection.execute(cursor.table.create)
            await fill_table(self._connection, cursor.table, initial.rows)
            self._add(cursor)

    async def _stop(self, stopped: StoppedError) -> None:
        self.stopped[stopped.cursor.model.name] = f"{stopped}: {stopped.__cause__!r}"
        self.cursors.remove(stopped.cursor)


async def differences(url: str, models: Sequence[ReadModel]) -> list[Comparison]:
    """Compare the served tables with a fold of the present code up to their positions. Raises RebuildError."""
    connection = await connect_to_models(url)
    try:
        comparisons = await _copy_served(connection, models)
        archived = await last_archived(connection)
        scratch = ScratchProjector(
            connection, models, {c.model.name: c.position for c in comparisons}, ReadOnlyWriter(connection)
        )
        await scratch.open()
        end = max(c.position for c in comparisons)
        with ProgressBar("folding") as bar:
            while await scratch.advance():
                bar.show(min((f.position for f in scratch.cursors if f.position < f.until), default=end), end)
        if await last_archived(connection) != archived:
            raise RebuildError("a month was archived during the comparison: run the command again", 1)
        for compared in comparisons:
            compared.stopped = scratch.stopped.get(compared.model.name, "")
            if not compared.stopped:
                await _compare(connection, compared)
    except NO_LEDGER as error:
        raise RebuildError(f"{NO_LEDGER_MESSAGE}: {error}") from None
    except UNREACHABLE as error:
        raise RebuildError(explain(error), 1) from None
    else:
        return comparisons
    finally:
        connection.terminate()


async def _copy_served(connection: asyncpg.Connection, models: Sequence[ReadModel]) -> list[Comparison]:
    async with snapshot(connection, readonly=False):
        names = [model.name for model in models]
        served = {r["model"]: r for r in await connection.fetch(CHECKPOINTS, names)}
        if missing := [name for name in names if name not in served]:
            raise RebuildError(f"nothing to compare: {', '.join(missing)} has no table yet")
        served_tables = [Table(model, "model") for model in models]
        tables = [(one.model, table) for one in served_tables for table in (one, *one.derived)]
        for _, table in tables:
            # A version before may have had other derived tables.
            if await connection.fetchval("SELECT to_regclass($1)", table.name) is not None:
                await connection.execute(f"CREATE TEMP TABLE served_{table.bare_name} AS TABLE {table.name}")
            else:
                columns = ", ".join(f"{name} {kind}" for name, kind in table.columns.items())
                await connection.execute(f"CREATE TEMP TABLE served_{table.bare_name} ({columns})")
    return [
        Comparison(model, table, served[model.name]["version"], served[model.name]["position"])
        for model, table in tables
    ]


async def _compare(connection: asyncpg.Connection, compared: Comparison) -> None:
    name = compared.name
    rebuilt = list(compared.table.columns)
    served = [row[0] for row in await connection.fetch(COLUMNS, f"pg_temp.served_{name}")]
    compared.removed = [column for column in served if column not in rebuilt]
    compared.added = [column for column in rebuilt if column not in served]
    compared.rows = await connection.fetchval(f"SELECT count(*) FROM pg_temp.served_{name}")
    key = compared.table.key
    if set(key) <= set(served):
        named = f"ARRAY[{', '.join(f't.{column}::text' for column in key)}]"
    else:  # without a common key two rows are either equal or unrelated
        named = "ARRAY[(to_jsonb(t) - $1::text[])::text]"
    side = f"SELECT {named} AS key, to_jsonb(t) - $1::text[] AS row FROM pg_temp"
    rows = await connection.fetch(
        f"SELECT coalesce(s.key, r.key), s.row, r.row, count(*) OVER () FROM ({side}.served_{name} t) s"
        f" FULL JOIN ({side}.{name} t) r ON s.key = r.key"
        " WHERE s.row IS DISTINCT FROM r.row ORDER BY 1 LIMIT $2",
        [*compared.removed, *compared.added],
        MAX_SHOWN_ROWS,
    )
    compared.shown = [RowDifference(*row[:3]) for row in rows]
    compared.differing = rows[0][3] if rows else 0
