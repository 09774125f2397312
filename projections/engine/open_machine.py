"""A machine between two batches of a projector."""

from projections.engine.derived import LastParts
from projections.engine.machine import Machine
from projections.engine.model import Key, ReadModel, Row
from projections.engine.state import FoldState


class OpenMachine:
    """A machine between two batches; ``rows`` are its open rows by key, as they were last written.

    ``parts`` has the parts of these rows, by the name of their table, as far as they were made.
    """

    def __init__(self, model: ReadModel, state: FoldState, rows: dict[Key, Row]) -> None:
        assert model.machine is not None
        self.machine: Machine = model.machine()
        self.rows = rows
        self.parts: dict[str, LastParts] = {}
        self.machine.open([rows[key] for key in sorted(rows)], state.memory)
