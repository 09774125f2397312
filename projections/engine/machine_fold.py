"""Folds a batch of events with the machine of one model, and makes the fold of any model."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from projections.engine.changes import OnChange, is_unchanged
from projections.engine.decoding import DecodedEvent
from projections.engine.derived import LastParts, rows_of
from projections.engine.fold import Fold
from projections.engine.keys import check_key
from projections.engine.machine import Machine
from projections.engine.model import Input, Key, ReadModel, Row
from projections.engine.open_machine import OpenMachine
from projections.engine.state import FoldState
from schemas.log import RecordedEvent


class MachineFold(Fold):
    """A model with a machine over one batch, with the face of `Fold`.

    ``opened`` is the machine that the batch before has left. A caller then loads the ended rows that have one of
    ``ids``, after the last `take`. Once the batch is written, `release` returns the machine for the next one. After an
    error it must be thrown away, with all that it has half done.

    Without ``opened``, the caller loads all rows of the model before the first `take`, and may `take` and `run` again.
    With ``lacks_ended`` these are the open rows. The caller loads ended ones before each `run`, or before events are
    taken one by one (`ids_in`), and may drop them again. Their table may be further than the fold. So a row from there
    has every event up to its last change already, and the last one of these is reported as its change.
    """

    def __init__(
        self, model: ReadModel, state: FoldState, on_change: OnChange | None = None, opened: OpenMachine | None = None
    ) -> None:
        super().__init__(model, state)
        # After each event, and not only of a batch, the rows are made only where every change is followed.
        self._on_change = on_change
        self.ids: set[tuple[str, str]] = set()
        self.lacks_ended = False
        self._opened = opened
        self._inputs: list[tuple[Any, RecordedEvent]] = []
        self._ended: dict[tuple[str, str], set[Key]] = {}
        self._looked_up: set[Key] = set()
        self._id_parts = next((d for d in model.derived if d.name == model.lookup), None)
        if opened is not None:
            self.rows = opened.rows

    @property
    def state(self) -> FoldState:
        """The facts of the machine's memory, after the last `run`."""
        if self._opened is None:
            return self._state
        return FoldState(memory=msgspec.to_builtins(self._opened.machine.memory()))

    @state.setter
    def state(self, state: FoldState) -> None:
        self._state = state

    def load(self, rows: Iterable[Row], key_of: Callable[[Any], Key]) -> None:
        """Store rows of the table."""
        for row in rows:
            key = key_of(row)
            if key not in self.rows:
                self.rows[key] = row
                self._note(key, None, row)
                if self.lacks_ended and self._opened is not None:
                    self._looked_up.add(key)

    def unknown_ids(self) -> list[tuple[str, str]]:
        """Return the missing ids of which no ended row is loaded."""
        return sorted(one for one in self.ids if not self._ended.get(one))

    def ids_in(self, events: Iterable[DecodedEvent]) -> None:
        """Note the missing ids of events that will be taken one by one; the caller loads rows and clears ``ids``."""
        for decoded in events:
            self.apply(decoded)
        self._inputs.clear()
        self.rejected.clear()
        if self.error is None:
            self._open().forget()

    def drop_ended(self, most: int) -> None:
        """Drop the oldest ended rows beyond ``most``."""
        if len(self.rows) > 2 * most:
            ended = [key for key, row in self.rows.items() if not self._is_open(row)]
            for key in ended[: max(0, len(ended) - most)]:
                self._note(key, self.rows.pop(key), None)
                self._looked_up.discard(key)

    def _open(self) -> Machine:
        if self._opened is None:
            self._opened = OpenMachine(self.model, self._state, self._open_rows())
        return self._opened.machine

    def apply(self, decoded: DecodedEvent) -> None:
        """Take an event, and note the missing ids that it names."""
        event = decoded.event
        taken: Input | None = self._on.get(event.name)  # type: ignore[assignment]
        if taken is None or event.source not in taken.sources or self.error is not None:
            return
        try:
            shaped = decoded.convert(taken.shape)
        except (ValueError, OverflowError) as error:
            self.rejected.append((event.position, event.name, str(error)))
            return
        try:
            if taken.is_needed is not None and not taken.is_needed(shaped):
                return
            self._inputs.append((shaped, event))
            opened = self._opened
            machine = self._open() if opened is None else opened.machine
            if missing := machine.missing(shaped):
                self.ids.update(missing)
        except Exception as error:  # noqa: BLE001 (the caller reports it and stops the model)
            self.error = event, error

    def run(self, most: int | None = None) -> bool:  # noqa: ARG002 (the rows are made after the last event)
        """Fold all events that were taken, in order; none is left then."""
        if self.error is not None or not self._inputs:
            return False
        machine = self._open()
        event = self._inputs[0][1]
        touched: dict[Key, RecordedEvent] = {}
        try:
            ended = {key for one in self.ids for key in self._ended.get(one, ())}
            machine.load([self.rows[key] for key in sorted(ended)])
            for shaped, event in self._inputs:
                if keys := machine.fold(shaped):
                    for key in keys:
                        touched[key] = event
                        self.changed = event.position
                if self._on_change is not None:
                    later = [key for key in ended & self._looked_up if self.rows[key].tm_update == event.at]
                    touched = dict.fromkeys(later, event) | touched
                    self._set_rows(machine, touched)
            self._set_rows(machine, touched)
            machine.forget()
        except Exception as error:  # noqa: BLE001 (the caller reports it and stops the model)
            self.error = event, error
        self._inputs.clear()
        self.ids.clear()
        return False

    def _set_rows(self, machine: Machine, touched: dict[Key, RecordedEvent]) -> None:
        for key, event in touched.items():
            before, after = self.rows.get(key), machine.row(key)
            if before is not None and after is not None and self._has_folded(key, before, event):
                continue
            if before is None and after is not None:
                try:
                    check_key(key)
                except ValueError as error:
                    self.rejected.append((event.position, event.name, str(error)))
                    after = None
            if after is not None:
                is_same = before is not None and is_unchanged(before, after)
                after.tm_update = event.at
                self.rows[key] = after
            else:
                is_same = self.rows.pop(key, None) is None
            self._looked_up.discard(key)
            self._note(key, before, after)
            self.before.setdefault(key, before)
            self.dirty.add(key)
            if self._on_change is not None and not is_same:
                self._on_change(event, key, before, after)
        touched.clear()

    def _has_folded(self, key: Key, row: Row, event: RecordedEvent) -> bool:
        """Return whether the row was looked up, and has the event already; the last such event is reported."""
        if key not in self._looked_up or row.tm_update < event.at:
            return False
        if row.tm_update == event.at and self._on_change is not None:
            self._looked_up.discard(key)
            self.dirty.add(key)
            self._on_change(event, key, msgspec.structs.replace(row), row)
        return True

    def _is_open(self, row: Row) -> bool:
        return getattr(row, self.model.end_column) is None

    def _note(self, key: Key, before: Row | None, after: Row | None) -> None:
        """Store the ids of ended rows; the machine has those of open ones."""
        if self._id_parts is None:
            return
        if before is not None and not self._is_open(before):
            for one in rows_of(self._id_parts, [before]):
                self._ended[one.pbx, one.id].discard(key)
        if after is not None and not self._is_open(after):
            for one in rows_of(self._id_parts, [after]):
                self._ended.setdefault((one.pbx, one.id), set()).add(key)

    def release(self) -> OpenMachine | None:
        """Return the machine with its open rows alone, for the next batch; None if it has not been opened."""
        opened = self._opened
        if opened is not None:
            opened.rows = self._open_rows()
            for name, last in opened.parts.items():
                opened.parts[name] = {one: made for one, made in last.items() if self._is_open(made[0])}
        return opened

    def parts_of(self, name: str) -> LastParts:
        """Return the parts of open rows in one derived table, as they were last made."""
        return {} if self._opened is None else self._opened.parts.setdefault(name, {})

    def _open_rows(self) -> dict[Key, Row]:
        return {key: row for key, row in self.rows.items() if self._is_open(row)}


def new_fold(
    model: ReadModel, state: FoldState, on_change: OnChange | None = None, opened: OpenMachine | None = None
) -> Fold:
    """Return the fold of a model; ``opened`` is the machine of a model that has one."""
    if model.machine is None:
        return Fold(model, state, on_change)
    return MachineFold(model, state, on_change, opened)
