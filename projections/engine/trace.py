"""Folds one model from nothing and notes which events changed the rows that somebody asks about."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from projections.engine.model import DecodedEvent, Fold, Key, ReadModel, Row, State, subscriptions_of
from schemas.log import RecordedEvent


class Step(Struct, frozen=True):
    """One event's change of one row; None is a row that is not there."""

    event: RecordedEvent
    key: Key
    before: Any
    after: Any


class _Noting(Fold):
    """A fold that notes what it sets."""

    def __init__(self, model: ReadModel, state: State, watched: frozenset[Key]) -> None:
        super().__init__(model, state)
        self.steps: list[Step] = []
        self._watched = watched

    def _set(self, key: Key, old: Any, new: Any, event: RecordedEvent) -> None:
        super()._set(key, old, new, event)
        if key in self._watched and (now := self.rows.get(key)) is not old:
            self.steps.append(Step(event, key, old, now))


class Trace:
    """A model's rows while it is given events, and the ``steps`` of the ``watched`` rows (full keys, pbx first)."""

    def __init__(self, model: ReadModel, watched: frozenset[Key]) -> None:
        self.model = model
        self.watched = watched
        self.rows: dict[Key, Row] = {}
        self.steps: list[Step] = []
        self.folded = 0
        self._state = State()
        self._takers = subscriptions_of([model])

    def fold(self, events: Sequence[RecordedEvent]) -> None:
        """Fold a batch, as the projector would. Raises what the model's own code raises."""
        fold = _Noting(self.model, self._state, self.watched)
        for event in events:
            fold.take(DecodedEvent(event, self._takers[event.name][0]))
        fold.load(self._wanted(fold), self._key_of)
        fold.run()
        if fold.error is not None:
            raise fold.error[1]
        for key in fold.dirty:
            if key in fold.rows:
                self.rows[key] = fold.rows[key]
            else:
                self.rows.pop(key, None)
        self._state = fold.state
        self.steps += fold.steps
        self.folded += len(events)

    def _wanted(self, fold: Fold) -> list[Row]:
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


def same(one: Row | None, other: Row | None) -> bool:
    """Tell whether two rows are one row, whether a table or a fold made them."""
    return bool(_plain(one) == _plain(other))


def _plain(row: Row | None) -> Any:
    # jsonb gives members in another order, and lists where a fold may have tuples.
    return msgspec.json.decode(msgspec.json.encode(row))
