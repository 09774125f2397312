"""Folds several models in step, event by event, and returns which rows each event created, changed or deleted."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from projections.engine.decoding import DecodedEvent
from projections.engine.fold import Fold
from projections.engine.machine_fold import MachineFold, new_fold
from projections.engine.model import Key, ReadModel, Row
from projections.engine.state import FoldState
from projections.engine.subscriptions import event_names_of, subscriptions_of
from schemas.log import RecordedEvent

MOST_ENDED = 2_000
"""Ended rows that a model with a machine keeps, for the events that come late."""


class Change(Struct, frozen=True):
    """One row of ``model`` before and after an event; None is a row that does not exist."""

    model: str
    before: Any
    after: Any


class FoldError(Exception):
    """A model's own code fails at an event, as it does in the projector; the message is one line."""


class StepFold:
    """Models that have all folded the same events; ``names`` are those of the events that they handle.

    ``initial`` holds each model's state and all of its rows at the position where the fold starts, by model. With
    ``lacks_ended`` the models with a machine may lack ended rows: the caller looks them up before events are taken.
    """

    def __init__(
        self,
        models: Sequence[ReadModel],
        initial: Mapping[str, tuple[FoldState, Iterable[Row]]],
        *,
        lacks_ended: bool = False,
    ) -> None:
        self._before: dict[Key, Any] = {}
        self._folds = [new_fold(model, initial[model.name][0], self._keep_first) for model in models]
        self._machines = [fold for fold in self._folds if isinstance(fold, MachineFold) and lacks_ended]
        for machine in self._machines:
            machine.lacks_ended = True
        for fold in self._folds:
            columns = ("pbx", *fold.model.key)
            fold.load(initial[fold.model.name][1], lambda row, columns=columns: tuple(getattr(row, c) for c in columns))  # type: ignore[misc]
        self._subscriptions = subscriptions_of(models)
        self._rows = {fold.model.name: fold.rows for fold in self._folds}

    @property
    def names(self) -> list[str]:
        """The names of the events to `apply`; other events change nothing."""
        return list(self._subscriptions)

    def rows(self, model: str) -> Mapping[Key, Any]:
        """Return the model's rows as they are now, by full key (pbx first)."""
        return self._rows[model]

    def lacking(self, events: Sequence[RecordedEvent]) -> list[MachineFold]:
        """Return the folds for which ended rows must be loaded before these events are taken, and drop old ones."""
        lacking = []
        for fold in self._machines:
            names = event_names_of(fold.model)
            fold.drop_ended(MOST_ENDED)
            fold.ids_in(DecodedEvent(e, self._subscriptions[e.name][0]) for e in events if e.name in names)
            if fold.unknown_ids():
                lacking.append(fold)
            else:
                fold.ids.clear()
        return lacking

    def apply(self, event: RecordedEvent) -> list[Change]:
        """Fold one event, in the order of models. Raises FoldError; the fold is then unusable."""
        subset, indexes = self._subscriptions[event.name]
        decoded = DecodedEvent(event, subset)
        changes: list[Change] = []
        for index in indexes:
            fold = self._folds[index]
            fold.apply(decoded)
            fold.run()
            if fold.error is not None:
                raise FoldError(f"{fold.model.name} at position {event.position} ({event.name})") from fold.error[1]
            if fold.dirty or fold.rejected:
                changes += self._changes_of(fold)
        return changes

    def _keep_first(self, _event: RecordedEvent, key: Key, before: Any, _after: Any) -> None:
        # One fold runs at a time, so keys of different models never meet.
        self._before.setdefault(key, before)

    def _changes_of(self, fold: Fold) -> list[Change]:
        """Return the fold's changes in the order of keys, which is the same in every process, and clear them."""
        changes = []
        for key in sorted(self._before):
            before, after = self._before[key], fold.rows.get(key)
            if before is not after:
                changes.append(Change(fold.model.name, before, after))
        for done in (fold.dirty, fold.before, self._before, fold.rejected):
            done.clear()
        return changes
