"""The initial state of read models: empty, or after an archive the state that was saved at the start of the log."""

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from projections.engine.derived import rows_of
from projections.engine.model import ReadModel, Row
from projections.engine.state import FoldState
from services.log.archives import ArchiveCatalog, read_catalog
from services.projector.saved_states import PART_ROWS, ROWS
from services.projector.table import Table

# The model's own version comes first, then the newest one.
PINNED = """
SELECT version, latest, changed, state FROM ledger.saved
WHERE model = $1 AND position = $2 AND whole AND kept ORDER BY version = $3 DESC, version DESC LIMIT 1
"""


class NoInitialStateError(Exception):
    """The model has no saved state at the start of the log; the message names the files that a fold needs."""


class InitialState(Struct, frozen=True):
    """The state from which a model folds on; ``version`` is the version of the model that made it.

    ``latest`` is the greatest time of recording of all events until ``position``, ``changed`` the position of the last
    event that changed a row.
    """

    position: int = 0
    latest: Any = None
    changed: int = 0
    state: FoldState = msgspec.field(default_factory=FoldState)
    rows: Sequence[Row] = ()
    version: int = 0


async def read_initial_state(connection: asyncpg.Connection, model: ReadModel) -> InitialState:
    """Return a model's initial state. Raises NoInitialStateError.

    A saved state of another version is used if it has the same columns: its rows are what that version made of the
    archived events. The caller uses the result in the same transaction.
    """
    archived = await read_catalog(connection)
    if not archived:
        return InitialState()
    pinned = await connection.fetchrow(PINNED, model.name, archived.position, model.version)
    if pinned is None:
        raise NoInitialStateError(_message(model, archived, "has no saved state"))
    parts = await connection.fetch(ROWS, model.name, pinned["version"], pinned["changed"])
    try:
        state = msgspec.convert(pinned["state"], FoldState)
        rows = [row for (text,) in parts for row in _rows(model, text)]
    except msgspec.MsgspecError:
        reason = f"has only a saved state of version {pinned['version']}"
        raise NoInitialStateError(_message(model, archived, reason)) from None
    return InitialState(archived.position, pinned["latest"], pinned["changed"], state, rows, pinned["version"])


def _rows(model: ReadModel, text: str) -> list[Any]:
    for row in msgspec.json.decode(text, type=list[dict[str, Any]])[:1]:
        if row.keys() != set(model.row.__struct_fields__):
            raise msgspec.ValidationError("other columns")
    return msgspec.json.decode(text, type=list[model.row])  # type: ignore[name-defined]


def _message(model: ReadModel, archived: ArchiveCatalog, reason: str) -> str:
    return (
        f"{model.name} (version {model.version}) {reason} at position {archived.position}, the start of the log;"
        f" to fold it, import the archived files into an empty database (`ringledger import`): {archived.file_names}"
    )


async def fill_table(connection: asyncpg.Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows into an empty table, and into those that follow from it."""
    derived = [(one, rows_of(d, rows)) for one, d in zip(table.derived, table.model.derived, strict=True)]
    for into, of_table in ((table, rows), *derived):
        for start in range(0, len(of_table), PART_ROWS):
            await connection.execute(into.upsert, *into.arrays(of_table[start : start + PART_ROWS]))
