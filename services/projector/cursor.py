"""One model's place in the log, and the error that stops it there."""

import contextlib
from collections.abc import Iterator
from typing import Literal

from projections.engine.model import Key, ReadModel, Row
from projections.engine.open_machine import OpenMachine
from projections.engine.state import FoldState
from schemas.log import MAX_POSITION
from services.database.errors import UNREACHABLE
from services.projector.table import Table

Schema = Literal["model", "rebuild", "pg_temp"]


class ModelCursor:
    """One model on its way along the log, up to position ``until``.

    ``schema`` is that of its table: served (``model``), being rebuilt, or visible to one connection only. ``opened`` is
    the machine of a model that has one, with the rows as they are committed. There is none during a batch, nor after
    one that failed: the next batch opens another from the table.

    ``recent`` holds the rows of the keys that the last batch named, as they are committed; None for a key without a
    row. The next batch mostly names the same channels, and need not read them again.
    """

    def __init__(
        self,
        model: ReadModel,
        schema: Schema,
        position: int,
        changed: int,
        state: FoldState,
        *,
        until: int = MAX_POSITION,
    ) -> None:
        self.model = model
        self.schema = schema
        self.table = Table(model, schema)
        self.position = position
        self.changed = changed
        self.state = state
        self.until = until
        self.opened: OpenMachine | None = None
        self.recent: dict[Key, Row | None] = {}


class StoppedError(Exception):
    """A model cannot go on; ``where`` is the position, or the operation that failed."""

    def __init__(self, cursor: ModelCursor, where: str) -> None:
        super().__init__(where)
        self.cursor = cursor


@contextlib.contextmanager
def stopping_model(cursor: ModelCursor, operation: str) -> Iterator[None]:
    """Raise StoppedError for any error of this model's table; errors of the connection pass through."""
    try:
        yield
    except Exception as error:
        # asyncpg's error for a value that cannot be sent is a ValueError and an InterfaceError: the model's fault.
        if isinstance(error, UNREACHABLE) and not isinstance(error, ValueError):
            raise
        raise StoppedError(cursor, operation) from error
