"""Folds several models in step, event by event, and tells which rows each event created, changed or deleted."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from projections.engine.model import DecodedEvent, Fold, Key, ReadModel, Row, State, subscriptions_of
from schemas.log import RecordedEvent


class Change(Struct, frozen=True):
    """One row of ``model`` before and after an event; None is a row that is not there."""

    model: str
    before: Any
    after: Any


class FoldError(Exception):
    """A model's own code fails at an event, as it does in the projector; the message is one line."""


class _Noting(Fold):
    """A fold that remembers what stood where something else stands now."""

    def __init__(self, model: ReadModel, state: State) -> None:
        super().__init__(model, state)
        self._before: dict[Key, Any] = {}

    def _set(self, key: Key, old: Any, new: Any, event: RecordedEvent) -> None:
        self._before.setdefault(key, old)
        super()._set(key, old, new, event)

    def taken(self) -> list[Change]:
        """Return what has changed since this was asked last, in the order of keys, the same in every process."""
        found = []
        for key in sorted(self.dirty):
            before, after = self._before[key], self.rows.get(key)
            if before is not after:
                found.append(Change(self.model.name, before, after))
        for served in (self.dirty, self._before, self.unfit):
            served.clear()
        return found


class StepFold:
    """Models that have all folded the same events; ``names`` are those of the events they want.

    ``begun`` holds, by model, what each held where they begin: its state and all of its rows.
    """

    def __init__(self, models: Sequence[ReadModel], begun: Mapping[str, tuple[State, Iterable[Row]]]) -> None:
        self._folds = [_Noting(model, begun[model.name][0]) for model in models]
        for fold in self._folds:
            columns = ("pbx", *fold.model.key)
            fold.load(begun[fold.model.name][1], lambda row, columns=columns: tuple(getattr(row, c) for c in columns))  # type: ignore[misc]
        self._takers = subscriptions_of(models)
        self._rows = {fold.model.name: fold.rows for fold in self._folds}

    @property
    def names(self) -> list[str]:
        """The events to be given; others change nothing."""
        return list(self._takers)

    def rows(self, model: str) -> Mapping[Key, Any]:
        """Return the model's rows as they stand now, by full key (pbx first)."""
        return self._rows[model]

    def take(self, event: RecordedEvent) -> list[Change]:
        """Fold one event, in the order of models. Raises FoldError; nothing can be folded any more then."""
        chosen, indexes = self._takers[event.name]
        decoded = DecodedEvent(event, chosen)
        changes: list[Change] = []
        for index in indexes:
            fold = self._folds[index]
            fold.take(decoded)
            fold.run()
            if fold.error is not None:
                raise FoldError(f"{fold.model.name} at position {event.position} ({event.name})") from fold.error[1]
            if fold.dirty or fold.unfit:
                changes += fold.taken()
        return changes
