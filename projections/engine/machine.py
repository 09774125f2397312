"""A machine: the fold of a model whose events do not name their rows.

An ordinary handler takes a row's key from the event. Where the key of an object changes during its life (two calls
become one), only the objects under way tell which row an event is about. A machine holds them between batches.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from projections.engine.model import Key, Row

Memory = Mapping[str, Mapping[str, Any]]
"""Small facts by PBX that belong to no row, as JSON values."""


class Machine(Protocol):
    """Folds events into rows that it finds itself. It holds the open rows between batches; ended rows leave it.

    A row is open while it has no value in the model's ``end_column``. The state of a machine follows from the open rows
    and from `memory`: a new one that opens them continues like the one before, at any end of a batch. A batch that
    fails is folded again by a new machine. So no method may look at a clock, or at the size of a batch.

    Events come as the shapes of the model's `Input`. A value that does not fit its shape rejects the event before the
    machine receives it. Any exception of a machine is a fault of the model and stops it.
    """

    def open(self, rows: Iterable[Row], memory: Memory) -> None:
        """Take the open rows of the table and the facts of `memory`; called once, before anything else."""

    def missing(self, event: Any) -> Iterable[tuple[str, str]]:
        """Return (pbx, id) for the ids of the event that no open row has, and that an ended row may have.

        Called for all events of a batch before the first of them is folded.
        """

    def load(self, rows: Iterable[Row]) -> None:
        """Take the ended rows that have one of the missing ids, for this batch only."""

    def fold(self, event: Any) -> Iterable[Key]:
        """Fold an event; return the full keys (pbx first) of the rows that it changed, created or removed.

        A key stands for a change: its row is written, with the event's time as ``tm_update``.
        """

    def row(self, key: Key) -> Row | None:
        """Return a new object with the row as it is now, None when there is none; the engine sets its ``tm_update``.

        Called once a batch for each changed row, or after each event where every change is followed.
        """

    def memory(self) -> Memory:
        """Return the facts that the next machine needs besides the open rows."""

    def forget(self) -> None:
        """Drop the ended rows: the batch is over, whether events were folded or only `missing` was called."""
