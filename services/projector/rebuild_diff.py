"""``ringledger rebuild --diff``: what would be other rows if the present code folded the log anew.

The served tables are copied, with their checkpoints, in one snapshot; then the log is folded up to these positions.
Both stand in temporary tables, of which nothing is left whatever becomes of us, and PostgreSQL compares them.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct
from rich.table import Table as Shown

from projections.engine.model import ReadModel
from services.database import connection as database
from services.database.faults import explained
from services.log import archives as edge
from services.log.archives import UnkeptError
from services.projector.batch import BatchWriter
from services.projector.cursor import ModelCursor, StoppedError
from services.projector.projector import Projector
from services.projector.rebuild import OUTDATED, RebuildError, opened
from services.projector.table import Table
from services.runtime.progress import Bar

SHOWN = 20
"""Rows of one model that are shown; all are counted."""
LONGEST = 60
CHECKPOINTS = """
SELECT model, version, position FROM ledger.checkpoint WHERE place = 'model' AND model = ANY($1::text[])
"""
COLUMNS = "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped"


class Row(Struct, frozen=True):
    """One row that differs: its columns on either side, None where there is no such row."""

    key: list[str]
    served: dict[str, Any] | None
    rebuilt: dict[str, Any] | None


class Compared(Struct):
    """One model: how many rows it has where it is served, how many differ, and the first of these.

    ``gone`` and ``new`` are columns that only the served table has, and that it has not; they are not compared.
    ``stopped`` says where the present code cannot go on.
    """

    model: ReadModel
    version: int
    position: int
    rows: int = 0
    differing: int = 0
    shown: list[Row] = []
    gone: list[str] = []
    new: list[str] = []
    stopped: str = ""

    @property
    def differs(self) -> bool:
        """Whether a rebuild would change anything."""
        return bool(self.differing or self.gone or self.new or self.stopped)


class Unwritten(BatchWriter):
    """Rows are written, and nothing else."""

    async def save(self, *_: object) -> None:
        """Leave the checkpoints alone."""

    async def note(self, *_: object) -> None:
        """Leave it to the projector to note what is unfit."""


class Scratch(Projector):
    """A projector that folds into temporary tables of its connection, each model as far as ``upto`` says."""

    async def open(self) -> None:
        """Make the tables, and begin where the log does."""
        for model in self._models:
            try:
                begun = await edge.begun(self._connection, model)
            except UnkeptError as error:
                self.stopped[model.name] = str(error)
                continue
            follower = ModelCursor(model, "pg_temp", begun.position, begun.changed, begun.state)
            await self._connection.execute(follower.table.create)
            await edge.fill(self._connection, follower.table, begun.rows)
            self._add(follower)

    async def _stop(self, stopped: StoppedError) -> None:
        self.stopped[stopped.follower.model.name] = f"{stopped}: {stopped.__cause__!r}"
        self.followers.remove(stopped.follower)


async def differences(url: str, models: Sequence[ReadModel]) -> list[Compared]:
    """Compare the served tables with the present code's fold up to where they stand. Raises RebuildError."""
    connection = await opened(url)
    try:
        found = await _copied(connection, models)
        archived = await edge.last(connection)
        scratch = Scratch(connection, models, {c.model.name: c.position for c in found}, Unwritten(connection))
        await scratch.open()
        end = max(c.position for c in found)
        with Bar("folding") as bar:
            while await scratch.advance():
                bar.show(min((f.position for f in scratch.followers if f.position < f.upto), default=end), end)
        if await edge.last(connection) != archived:
            raise RebuildError("a month was archived meanwhile: run it again", 1)
        for compared in found:
            compared.stopped = scratch.stopped.get(compared.model.name, "")
            if not compared.stopped:
                await _compare(connection, compared)
    except OUTDATED as error:
        raise RebuildError(f"the database is not of this version, or has lost a table: {error}") from None
    except database.UNREACHABLE as error:
        raise RebuildError(explained(error), 1) from None
    else:
        return found
    finally:
        connection.terminate()


async def _copied(connection: asyncpg.Connection, models: Sequence[ReadModel]) -> list[Compared]:
    async with database.snapshot(connection, readonly=False):
        names = [model.name for model in models]
        served = {r["model"]: r for r in await connection.fetch(CHECKPOINTS, names)}
        if missing := [name for name in names if name not in served]:
            raise RebuildError(f"nothing to compare: {', '.join(missing)} has no table yet")
        for name in names:
            await connection.execute(f"CREATE TEMP TABLE served_{name} AS TABLE model.{name}")
    return [Compared(model, served[model.name]["version"], served[model.name]["position"]) for model in models]


async def _compare(connection: asyncpg.Connection, compared: Compared) -> None:
    name = compared.model.name
    ours = list(Table(compared.model).columns)
    theirs = [row[0] for row in await connection.fetch(COLUMNS, f"pg_temp.served_{name}")]
    compared.gone = [column for column in theirs if column not in ours]
    compared.new = [column for column in ours if column not in theirs]
    compared.rows = await connection.fetchval(f"SELECT count(*) FROM pg_temp.served_{name}")
    key = ("pbx", *compared.model.key)
    if set(key) <= set(theirs):
        named = f"ARRAY[{', '.join(f't.{column}::text' for column in key)}]"
    else:  # rows are either the same or have nothing to do with each other
        named = "ARRAY[(to_jsonb(t) - $1::text[])::text]"
    side = f"SELECT {named} AS key, to_jsonb(t) - $1::text[] AS row FROM pg_temp"
    rows = await connection.fetch(
        f"SELECT coalesce(s.key, r.key), s.row, r.row, count(*) OVER () FROM ({side}.served_{name} t) s"
        f" FULL JOIN ({side}.{name} t) r ON s.key = r.key"
        " WHERE s.row IS DISTINCT FROM r.row ORDER BY 1 LIMIT $2",
        [*compared.gone, *compared.new],
        SHOWN,
    )
    compared.shown = [Row(*row[:3]) for row in rows]
    compared.differing = rows[0][3] if rows else 0


def table(found: Sequence[Compared]) -> Shown | None:
    """Return the rows that differ for people to read, None when there are none."""
    shown = Shown("model", "key", "column", "served", "rebuilt")
    for compared in found:
        name = compared.model.name
        for row in compared.shown:
            key = " ".join(map(_written, ("pbx", *compared.model.key), row.key))
            for column, served, rebuilt in _cells(row):
                shown.add_row(name, key, column, served, rebuilt)
        if compared.differing > len(compared.shown):
            shown.add_row(name, f"... and {compared.differing - len(compared.shown):,} rows more")
    return shown if shown.rows else None


def _cells(row: Row) -> list[tuple[str, str, str]]:
    if row.served is None:
        return [("", "no such row", "a row")]
    if row.rebuilt is None:
        return [("", "a row", "no such row")]
    both = [(column, value, row.rebuilt[column]) for column, value in row.served.items()]
    return [(column, _written(column, a), _written(column, b)) for column, a, b in both if a != b]


def _written(column: str, value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    longest = 8 if column.endswith("_hash") else LONGEST
    return text if len(text) <= longest else text[: longest - 1] + "…"


def lines(found: Sequence[Compared]) -> list[str]:
    """Return what was compared, after a line for each model of which more is to be said than the table shows."""
    said = []
    for compared in found:
        name = compared.model.name
        if compared.stopped:
            said.append(f"{name}: the present code stops at {compared.stopped}")
        if compared.gone or compared.new:
            gone, new = (", ".join(columns) or "none" for columns in (compared.gone, compared.new))
            said.append(f"{name}: columns that go: {gone}; that come: {new}")
        if compared.version != compared.model.version:
            said.append(f"{name}: version {compared.version} is served, {compared.model.version} was folded")
    positions = sorted({compared.position for compared in found})
    at = f"position {positions[0]}" if len(positions) == 1 else f"positions {positions[0]} to {positions[-1]}"
    names = f"{len(found)} read models" if len(found) > 3 else ", ".join(c.model.name for c in found)
    each = ", ".join(f"{c.model.name} {c.differing:,}" for c in found if c.differing)
    if each:
        verdict = f"{sum(c.differing for c in found):,} rows differ ({each})"
    else:
        verdict = "models differ" if any(c.differs for c in found) else "nothing differs"
    return [*said, f"compared {names}, {sum(c.rows for c in found):,} rows, at {at}: {verdict}"]
