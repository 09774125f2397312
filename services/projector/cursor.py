"""One model on its way along the log, and what stops it."""

import contextlib
from collections.abc import Iterator
from typing import Literal

from projections.engine.model import ReadModel
from projections.engine.state import State
from services.database.faults import UNREACHABLE
from services.projector.table import Table

MAX_POSITION = 1 << 62

Place = Literal["model", "rebuild", "pg_temp"]


class ModelCursor:
    """One model on its way along the log, and no further than ``upto``.

    ``place`` is the schema of its table: served, being rebuilt, or there for one connection's eyes only.
    """

    def __init__(
        self, model: ReadModel, place: Place, position: int, changed: int, state: State, *, upto: int = MAX_POSITION
    ) -> None:
        self.model = model
        self.place = place
        self.table = Table(model, place)
        self.position = position
        self.changed = changed
        self.state = state
        self.upto = upto


class StoppedError(Exception):
    """A model cannot go on; ``where`` is the position, or what was being done."""

    def __init__(self, follower: ModelCursor, where: str) -> None:
        super().__init__(where)
        self.follower = follower


@contextlib.contextmanager
def blaming(follower: ModelCursor, doing: str) -> Iterator[None]:
    """Turn what goes wrong with one model's table into a stop of that model."""
    try:
        yield
    except Exception as error:
        # asyncpg's error for a value that cannot be sent is a ValueError, and an InterfaceError too: the model's fault.
        if isinstance(error, UNREACHABLE) and not isinstance(error, ValueError):
            raise
        raise StoppedError(follower, doing) from error
