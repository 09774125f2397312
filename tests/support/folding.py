"""Folds events into models without a database: given events, when more events come, then rows.

Events are written by hand here; `tests.support.recorded_events` has those of recordings.
"""

import copy
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from projections.engine.decoding import DecodedEvent
from projections.engine.derived import changes_of, rows_of
from projections.engine.fold import Fold
from projections.engine.machine_fold import MachineFold, new_fold
from projections.engine.model import Key, ReadModel, Row
from projections.engine.open_machine import OpenMachine
from projections.engine.state import FoldState
from projections.engine.subscriptions import event_names_of
from schemas.log import NewEvent, RecordedEvent, RingledgerEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from services.runtime.masking.ami import mask_block

START = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
"""The time of events without one is this, plus a second for each position."""

Event = NewEvent | RecordedEvent | RingledgerEvent | bytes
"""An event to fold; bytes are an AMI block of `ami`."""


class FoldSpec:
    """The rows of some models: `given` folds a batch, `when` folds single events, `then` returns rows.

    Each batch loads only the rows that its fold requests, as the projector does. ``rejected`` holds the events that
    models rejected; `when` requires that there are none. With ``restarts`` each batch has a machine of its own, as in
    a projector that starts there; otherwise the machine stays.

    ``derived`` holds the rows of derived tables, changed batch by batch; `check_derived` compares them.
    """

    def __init__(self, *models: ReadModel, restarts: bool = False) -> None:
        self.models = models
        self.restarts = restarts
        self.derived: dict[str, dict[Key, Any]] = {d.name: {} for m in models for d in m.derived}
        self._opened: dict[str, OpenMachine | None] = {}
        self.rows: dict[str, dict[Key, Row]] = {m.name: {} for m in models}
        self.states = {m.name: FoldState() for m in models}
        self.rejected: list[tuple[int, str, str]] = []
        self.position = 0
        self._names = {m.name: event_names_of(m) for m in models}

    def given(self, events: Iterable[Event], pbx: str = "pbx") -> "FoldSpec":
        """Fold one batch."""
        batch = [recorded(position, event, pbx) for position, event in enumerate(events, self.position + 1)]
        self.position += len(batch)
        decoded = [DecodedEvent(event) for event in batch]
        for model in self.models:
            self._fold(model, [event for event in decoded if event.event.name in self._names[model.name]])
        return self

    def when(self, *events: Event | Iterable[Event], pbx: str = "pbx") -> "FoldSpec":
        """Fold each event in a batch of its own."""
        for one in events:
            for event in [one] if isinstance(one, Event) else one:
                self.given([event], pbx)
        assert self.rejected == []
        return self

    def then(self, model: ReadModel | None = None, pbx: str = "pbx") -> dict[Key, Any]:
        """Return the rows of a model (the first one by default) by key, without the pbx."""
        rows = self.rows[(model or self.models[0]).name]
        return {key[1:]: row for key, row in rows.items() if key[0] == pbx}

    def _fold(self, model: ReadModel, events: list[DecodedEvent]) -> None:
        if not events and model.machine is None:
            return
        rows = self.rows[model.name]
        fold = self._fold_of(model)
        for event in events:
            fold.apply(event)
        if isinstance(fold, MachineFold):
            self._load_ended(model, fold)
        parts = 1 + (model.grouped_by or 0)
        loaded = [
            row
            for key, row in rows.items()
            if key[0] in fold.pbxes or key in fold.keys or (model.grouped_by is not None and key[:parts] in fold.groups)
        ]
        names = ("pbx", *model.key)
        fold.load([msgspec.structs.replace(row) for row in loaded], lambda row: tuple(getattr(row, n) for n in names))
        fold.run()
        assert fold.error is None, fold.error
        for key in fold.dirty:
            if key in fold.rows:
                rows[key] = fold.rows[key]
            else:
                rows.pop(key, None)
        self._fold_derived(model, fold)
        self.rejected += fold.rejected
        self.states[model.name] = fold.state
        if isinstance(fold, MachineFold):
            self._opened[model.name] = None if self.restarts else fold.release()

    def _fold_of(self, model: ReadModel) -> Fold:
        opened = self._opened.get(model.name)
        if model.machine is not None and opened is None:
            rows = {key: row for key, row in self.rows[model.name].items() if getattr(row, model.end_column) is None}
            opened = OpenMachine(model, self.states[model.name], copy.deepcopy(rows))
        return new_fold(model, self.states[model.name], opened=opened)

    def _load_ended(self, model: ReadModel, fold: MachineFold) -> None:
        if not fold.ids:
            return
        ended = {
            key: copy.deepcopy(self.rows[model.name][key])
            for part in self.derived.get(model.lookup, {}).values()
            if (part.pbx, part.id) in fold.ids
            for key in [tuple(getattr(part, name) for name in ("pbx", *model.key))]
            if getattr(self.rows[model.name][key], model.end_column) is not None
        }
        fold.load(ended.values(), lambda row: tuple(getattr(row, name) for name in ("pbx", *model.key)))

    def _fold_derived(self, model: ReadModel, fold: Fold) -> None:
        for derived in model.derived:
            table = self.derived[derived.name]
            change = changes_of(derived, [(fold.before[key], fold.rows.get(key)) for key in fold.dirty])
            deleted, written = change.apply({k: copy.deepcopy(table[k]) for k in change.differences if k in table})
            for key in deleted:
                table.pop(key, None)
            table.update({(row.pbx, *[getattr(row, name) for name in derived.key]): row for row in written})

    def check_derived(self) -> "FoldSpec":
        """Assert that all batches together made the derived rows that follow from the rows."""
        for model in self.models:
            for derived in model.derived:
                whole = rows_of(derived, self.rows[model.name].values())
                assert sorted(map(repr, self.derived[derived.name].values())) == sorted(map(repr, whole)), derived.name
        return self


def recorded(position: int, event: Event, pbx: str = "pbx") -> RecordedEvent:
    """Return the event as the log has it."""
    if isinstance(event, RecordedEvent):
        return event
    if isinstance(event, NewEvent):
        occurred = event.recorded if event.occurred is None else event.occurred
        at, received = (datetime.fromtimestamp(seconds, UTC) for seconds in (occurred, event.recorded))
        return RecordedEvent(position, pbx, event.source, event.name, at, event.raw, received)
    at = START + timedelta(seconds=position)
    if isinstance(event, RingledgerEvent):
        return RecordedEvent(position, pbx, "ringledger", type(event).__name__, at, msgspec.json.encode(event), at)
    name, separator, raw = event.partition(b"\0")
    if not separator:
        raw = event.lstrip()
        name = raw.split(b"\r\n", 1)[0].removeprefix(b"Event: ")
    return RecordedEvent(position, pbx, "ami", name.decode(), at, mask_block(raw), at)


def recorded_all(events: Iterable[Event], pbx: str = "pbx", first: int = 1) -> Iterator[RecordedEvent]:
    """Return events as the log has them from position ``first`` on."""
    return (recorded(position, event, pbx) for position, event in enumerate(events, first))


def ami(event: str, /, **headers: object) -> bytes:
    """Write an event block, or with "Response:<Action>" the reply to an action; "_" in a name stands for "-"."""
    kind, _, action = event.partition(":")
    first = f"Response: {headers.pop('Response', 'Success')}" if action else f"Event: {kind}"
    lines = [first, *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "", ""]
    return (f"{event}\0" if action else "").encode() + "\r\n".join(lines).encode()


def block(event: str, at: float | None = 1000.0, /, **headers: Any) -> NewEvent:
    """Write an AMI event as if it had just been received; ``at`` is its Timestamp, None for a list item."""
    lines = [f"Event: {event}"] + ([f"Timestamp: {at:.6f}"] if at is not None else [])
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return NewEvent("ami", event, at, at or 1000.0, ("\r\n".join(lines) + "\r\n\r\n").encode())


def own(event: RingledgerEvent, at: float) -> NewEvent:
    """Return one of Ringledger's own events as it is appended."""
    return NewEvent("ringledger", type(event).__name__, at, at, msgspec.json.encode(event))


def listing(action: str, *items: bytes, outcome: str = "complete", epoch: int = 7) -> Iterator[Event]:
    """Yield a whole snapshot of one list, whose items are blocks of `ami`."""
    yield SnapshotStarted(epoch)
    for item in items:
        start, end, rest = item.partition(b"\r\n")
        yield start + end + f"ActionID: ringledger/{epoch}/{action}\r\n".encode() + rest
    yield SnapshotListed(epoch, action, outcome)  # type: ignore[arg-type]
    yield SnapshotCompleted(epoch)


class ListSnapshot:
    """The events of a snapshot of one list: its start, its items, the end of its list, and its own end."""

    def __init__(self, action: str, epoch: int = 1, at: float = 1000.0) -> None:
        self.action, self.epoch, self.at = action, epoch, at
        self.start = own(SnapshotStarted(epoch), at)
        self.end = own(SnapshotListed(epoch, action, "complete"), at)
        self.empty = own(SnapshotListed(epoch, action, "empty"), at)
        self.failed = own(SnapshotListed(epoch, action, "failed"), at)
        self.over = own(SnapshotCompleted(epoch), at)

    def item(self, event: str, **headers: Any) -> NewEvent:
        """Return a list item of this snapshot."""
        item = block(event, None, **headers, ActionID=f"ringledger/{self.epoch}/{self.action}")
        return msgspec.structs.replace(item, recorded=self.at)
