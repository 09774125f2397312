"""Where the log begins: archived months are not in it, and what has folded them goes on from states kept there.

A log that was never archived has no edge, and begins with position 1.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from projections.engine.model import ReadModel, Row
from projections.engine.state import State
from services.log.chain import BEGINNING
from services.projector.table import Table

PART = 5_000

ARCHIVES = """
SELECT to_char(month, 'YYYY-MM'), first, last, previous, hash, ledger.microseconds(begun), ledger.microseconds(ended),
       ledger.microseconds(latest), events, file, sha256, counts::text, ledger.microseconds(archived)
FROM ledger.archive ORDER BY last
"""
LAST = "SELECT coalesce(max(last), 0) FROM ledger.archive"
# The state of the model's own version, or else the newest there is.
KEPT = """
SELECT version, latest, changed, state FROM ledger.saved
WHERE model = $1 AND position = $2 AND whole AND kept ORDER BY version = $3 DESC, version DESC LIMIT 1
"""
ROWS = "SELECT rows FROM ledger.saved_rows WHERE model = $1 AND version = $2 AND changed = $3 ORDER BY part"


class Archive(Struct, frozen=True):
    """One archived month, as ``ledger.archive`` has it; times are microseconds since the epoch."""

    month: str
    first: int
    last: int
    previous: bytes
    hash: bytes
    begun: int
    ended: int
    latest: int
    events: int
    path: str
    sha256: bytes
    counts: str
    archived: int

    @property
    def file(self) -> str:
        """Return the file's name without its folder, which is nobody's business but the operator's."""
        return PurePath(self.path).name


class ArchivedError(Exception):
    """What is asked for stands before the edge; the message is one line and names the file that holds it."""

    def __init__(self, what: str, archive: Archive) -> None:
        super().__init__(
            f"{what} is archived: {archive.file} holds {archive.month}, positions {archive.first} to {archive.last}"
        )
        self.archive = archive


class UnkeptError(Exception):
    """No state of the model was kept from which it could go on; the message names the files that it would need."""


class Edge(Struct, frozen=True):
    """The archived months, in order."""

    archives: tuple[Archive, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.archives)

    @property
    def position(self) -> int:
        """Return the last position that is archived, 0 when none is."""
        return self.archives[-1].last if self.archives else 0

    @property
    def hash(self) -> bytes:
        """Return the link on which the log goes on."""
        return self.archives[-1].hash if self.archives else BEGINNING

    @property
    def ended(self) -> int:
        """Return when the last batch that is archived was appended."""
        return self.archives[-1].ended if self.archives else 0

    @property
    def latest(self) -> int:
        """Return the greatest time of recording of what is archived."""
        return self.archives[-1].latest if self.archives else 0

    @property
    def files(self) -> str:
        """Return the names of all files."""
        return ", ".join(archive.file for archive in self.archives)

    def holding(self, position: int) -> Archive | None:
        """Return the archive that holds a position, None if the log does, or nobody."""
        return next((a for a in self.archives if a.first <= position <= a.last), None)

    def ended_by(self, at: int) -> Archive:
        """Return the archive to ask for a time (microseconds) before the edge."""
        return next((a for a in self.archives if a.ended >= at), self.archives[-1])


def microseconds(at: datetime) -> int:
    """Return a time as the archives have it."""
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


class Begun(Struct, frozen=True):
    """What a model held at the edge, as which version made it: from here it folds on. Else nothing, at position 0."""

    position: int = 0
    latest: Any = None
    changed: int = 0
    state: State = msgspec.field(default_factory=State)
    rows: Sequence[Row] = ()
    version: int = 0


async def read(connection: asyncpg.Connection) -> Edge:
    """Return what is archived."""
    return Edge(tuple(Archive(*row) for row in await connection.fetch(ARCHIVES)))


async def last(connection: asyncpg.Connection) -> int:
    """Return the last position that is archived, 0 when none is."""
    position: int = await connection.fetchval(LAST)
    return position


async def begun(connection: asyncpg.Connection, model: ReadModel) -> Begun:
    """Return where a model begins. Raises UnkeptError.

    A state of another version is taken where it has the same columns: its rows are what that version made of what is
    archived. Ask in one transaction with what is done with it.
    """
    edge = await read(connection)
    if not edge:
        return Begun()
    kept = await connection.fetchrow(KEPT, model.name, edge.position, model.version)
    if kept is None:
        raise UnkeptError(_unkept(model, edge, "has no state"))
    parts = await connection.fetch(ROWS, model.name, kept["version"], kept["changed"])
    try:
        state = msgspec.convert(kept["state"], State)
        rows = [row for (text,) in parts for row in _rows(model, text)]
    except msgspec.MsgspecError:
        raise UnkeptError(_unkept(model, edge, f"has a state of version {kept['version']} only")) from None
    return Begun(edge.position, kept["latest"], kept["changed"], state, rows, kept["version"])


def _rows(model: ReadModel, text: str) -> list[Any]:
    for row in msgspec.json.decode(text, type=list[dict[str, Any]])[:1]:
        if row.keys() != set(model.row.__struct_fields__):
            raise msgspec.ValidationError("other columns")
    return msgspec.json.decode(text, type=list[model.row])  # type: ignore[name-defined]


def _unkept(model: ReadModel, edge: Edge, what: str) -> str:
    return (
        f"{model.name} (version {model.version}) {what} at position {edge.position}, where the log begins; to fold it"
        f" the archived files must be brought back (`ringledger import` into an empty database): {edge.files}"
    )


async def fill(connection: asyncpg.Connection, table: Table, rows: Sequence[Row]) -> None:
    """Put rows into an empty table."""
    for start in range(0, len(rows), PART):
        await connection.execute(table.upsert, *table.arrays(list(rows[start : start + PART])))
