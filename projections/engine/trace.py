"""Folds one model from nothing, and records which events changed the watched rows."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from projections.engine.decoding import DecodedEvent
from projections.engine.fold import Fold
from projections.engine.machine_fold import MachineFold, new_fold
from projections.engine.model import Key, ReadModel, Row
from projections.engine.state import FoldState
from projections.engine.subscriptions import subscriptions_of
from schemas.log import RecordedEvent


class Step(Struct, frozen=True):
    """One event's change of one row; None is a row that does not exist."""

    event: RecordedEvent
    key: Key
    before: Any
    after: Any


class Trace:
    """A model's rows after the events of `fold`, and the ``steps`` of the ``watched`` rows (full keys, pbx first).

    A model with a machine may start at a ``state`` with its open ``rows``; others start at nothing.
    """

    def __init__(
        self, model: ReadModel, watched: frozenset[Key], state: FoldState | None = None, rows: Iterable[Row] = ()
    ) -> None:
        self.model = model
        self.watched = watched
        self.rows: dict[Key, Row] = {self._key_of(row): row for row in rows}
        self.steps: list[Step] = []
        self.folded = 0
        self._state = state or FoldState()
        self._fold: Fold | None = None
        self._subscriptions = subscriptions_of([model])
        if self.rows:
            self._fold = new_fold(model, self._state, self._record)
            self._fold.load(list(self.rows.values()), self._key_of)

    def fold(self, events: Sequence[RecordedEvent]) -> None:
        """Fold a batch, as the projector does. Raises the errors of the model's own code."""
        fold = self._fold or new_fold(self.model, self._state, self._record)
        for event in events:
            fold.apply(DecodedEvent(event, self._subscriptions[event.name][0]))
        fold.load(self._rows_for(fold), self._key_of)
        fold.run()
        if fold.error is not None:
            raise fold.error[1]
        for key in fold.dirty:
            if key in fold.rows:
                self.rows[key] = fold.rows[key]
            else:
                self.rows.pop(key, None)
        fold.dirty.clear()
        fold.before.clear()
        self._state = fold.state
        # A machine continues with the rows that it holds.
        self._fold = fold if isinstance(fold, MachineFold) else None
        self.folded += len(events)

    def _record(self, event: RecordedEvent, key: Key, before: Any, after: Any) -> None:
        if key in self.watched:
            self.steps.append(Step(event, key, before, after))

    def _rows_for(self, fold: Fold) -> list[Row]:
        if not (fold.groups or fold.pbxes):
            return [self.rows[key] for key in fold.keys if key in self.rows]
        size = 1 + (self.model.grouped_by or 0)
        return [
            row
            for key, row in self.rows.items()
            if key in fold.keys or key[0] in fold.pbxes or (fold.groups and key[:size] in fold.groups)
        ]

    def _key_of(self, row: Any) -> Key:
        return tuple(getattr(row, name) for name in ("pbx", *self.model.key))


def is_same_row(one: Row | None, other: Row | None) -> bool:
    """Return whether two rows are equal, whether a table or a fold made them."""
    return bool(_plain(one) == _plain(other))


def _plain(row: Row | None) -> Any:
    # jsonb gives members in another order, and lists where a fold may have tuples.
    return msgspec.json.decode(msgspec.json.encode(row))
