"""Folds a batch of events into the rows of one model."""

from collections.abc import Callable, Iterable
from typing import Any

from projections.engine.changes import OnChange, keeping_first
from projections.engine.decoding import DecodedEvent
from projections.engine.keys import check_key
from projections.engine.model import GroupHandler, Handler, Key, ReadModel, Row
from projections.engine.rows import RowSet
from projections.engine.state import FoldState, Snapshot, list_item
from projections.engine.subscriptions import SNAPSHOT_EVENTS
from schemas.ami import AmiEvent
from schemas.log import RecordedEvent


class Fold:
    """One model over one batch.

    `apply` every event in order, `load` the rows that the fold names in ``keys``, ``groups`` and ``pbxes``, then `run`.
    A caller that has loaded all rows may `apply` and `run` again.

    Then write the ``dirty`` rows: those in ``rows`` are upserted, the others deleted. ``changed`` is the position of
    the last event that changed a row. ``before`` holds the dirty rows as they were before the batch, if the model has
    derived tables. ``state`` is the model's state after the batch; the state passed in stays as it was, so that a
    failed batch can be folded again. ``loaded`` is for the caller: the keys of which it has loaded all rows.

    ``rejected`` holds (position, name, error) of events whose values did not convert. The PBX sent them, so the model
    continues without them. Any other error is a fault of the model: it ends the fold and is in ``error`` with the
    event, and nothing of the batch may be written.
    """

    def __init__(self, model: ReadModel, state: FoldState, on_change: OnChange | None = None) -> None:
        self.model = model
        self._on = model.on
        self._grouped_by = model.grouped_by
        self._is_plain = model.grouped_by is None and not model.matched_columns
        self.state = state.copy()
        self.dirty: set[Key] = set()
        self.changed = 0
        self.rejected: list[tuple[int, str, str]] = []
        self.error: tuple[RecordedEvent, Exception] | None = None
        self.keys: set[Key] = set()
        self.groups: set[Key] = set()
        self.pbxes: set[str] = set()
        self.loaded: list[Key] = []
        self.before: dict[Key, Any] = {}
        self._on_change = keeping_first(self.before, on_change) if model.derived else on_change
        self._plan: list[tuple[Handler | GroupHandler | None, Key, Any, RecordedEvent]] = []
        self._rows = RowSet(model)
        self.rows = self._rows.by_key

    def apply(self, decoded: DecodedEvent) -> None:
        """Plan the fold of an event, and note which rows it needs."""
        if self.error is not None:
            return
        event = decoded.event
        try:
            self._apply(event, decoded)
        except (ValueError, OverflowError) as error:
            self.rejected.append((event.position, event.name, str(error)))
        except Exception as error:  # noqa: BLE001 (the caller reports it and stops the model)
            self.error = event, error

    def _apply(self, event: RecordedEvent, decoded: DecodedEvent) -> None:
        handler: Handler | GroupHandler | None = self._on.get(event.name)  # type: ignore[assignment]
        if handler is not None and event.source in handler.sources:
            shaped = decoded.convert(handler.shape)
            if handler.context is not None:
                shaped = handler.context(self.state.memory.setdefault(event.pbx, {}), shaped)
            key = handler.key(shaped)
            if key is None:
                pass
            elif type(handler) is GroupHandler:
                self.groups.add((event.pbx, *key[: self._grouped_by]))
                self._plan.append((handler, (event.pbx, *key), shaped, event))
            elif type(key) is tuple and self._is_plain:
                full = (event.pbx, *key)
                self.keys.add(full)
                self._plan.append((handler, full, shaped, event))
            else:
                for one in key if type(key) is list else (key,):
                    full = (event.pbx, *one)
                    if handler.match_column:
                        self.pbxes.add(event.pbx)
                    elif self._grouped_by is not None:
                        self.groups.add(full[: 1 + self._grouped_by])
                    else:
                        self.keys.add(full)
                    self._plan.append((handler, full, shaped, event))
        if event.source == "ringledger" and self.model.lists and event.name in SNAPSHOT_EVENTS:
            if event.name == "SnapshotListed":
                self.pbxes.add(event.pbx)
            self._plan.append((None, (), decoded.convert(dict), event))

    def load(self, rows: Iterable[Row], key_of: Callable[[Any], Key]) -> None:
        """Store rows of the table."""
        for row in rows:
            self._rows.put(key_of(row), row)

    def run(self, most: int | None = None) -> bool:
        """Fold the planned events in order, at most ``most`` of them; return whether others are left."""
        if self.error is not None:
            return False
        plan = self._plan if most is None else self._plan[:most]
        for handler, key, shaped, event in plan:
            try:
                if type(handler) is Handler and not handler.match_column:
                    self._fold_row(handler, key, shaped, event)
                elif type(handler) is GroupHandler:
                    self._fold_group(handler, key, shaped, event)
                elif handler is None:
                    self._fold_snapshot(event, shaped)
                else:
                    for match in self._rows.matching(key[0], handler.match_columns, key[1]):
                        self._fold_row(handler, match, shaped, event)
            except (ValueError, OverflowError) as error:
                self.rejected.append((event.position, event.name, str(error)))
            except Exception as error:  # noqa: BLE001 (the caller reports it and stops the model)
                self.error = event, error
                return False
        del self._plan[: len(plan)]
        if self._plan:
            return True
        for done in (self.keys, self.groups, self.pbxes):
            done.clear()
        return False

    def _fold_row(self, handler: Handler, key: Key, shaped: AmiEvent, event: RecordedEvent) -> None:
        before = self.rows.get(key)
        row = handler.initial(key[1:], shaped) if before is None and handler.initial is not None else before
        snapshot = self.state.snapshots.get(key[0])
        item = None if snapshot is None else list_item(event)
        if snapshot is not None and item is not None and self._is_stale(handler, key, item, snapshot):
            return
        after = handler.fold(row, shaped)
        if snapshot is None and after is before:
            return
        if before is None and after is not None:
            check_key(key)
        if snapshot is not None and item is None:
            snapshot.mark_event(handler, key, before, after)
        self._set(key, before, after, event)

    def _fold_group(self, handler: GroupHandler, key: Key, shaped: AmiEvent, event: RecordedEvent) -> None:
        snapshot = self.state.snapshots.get(event.pbx)
        item = None if snapshot is None else list_item(event)
        is_one_row = len(key) == 1 + len(self.model.key)
        if snapshot is not None and item is not None and is_one_row and self._is_stale(handler, key, item, snapshot):
            return
        before = {member[1:]: self.rows[member] for member in self._rows.group(key)}
        after = handler.fold(dict(before), shaped)
        for bare in after.keys() - before.keys():
            check_key((event.pbx, *bare))
        for bare in before.keys() | after.keys():
            old, new = before.get(bare), after.get(bare)
            if snapshot is not None and item is None and not is_one_row and new is not old:
                snapshot.mark_event(handler, (event.pbx, *bare), old, new)
            self._set((event.pbx, *bare), old, new, event)
        if snapshot is not None and item is None and is_one_row:
            snapshot.mark_event(handler, key, before.get(key[1:]), after.get(key[1:]))

    def _is_stale(self, handler: Handler | GroupHandler, key: Key, item: tuple[int, str], snapshot: Snapshot) -> bool:
        epoch, action = item
        return snapshot.mark_item(handler, key, is_own=epoch == snapshot.epoch and action in self.model.lists)

    def _set(self, key: Key, before: Any, after: Any, event: RecordedEvent) -> None:
        if after is before:
            return
        if after is None:
            self._rows.remove(key)
        else:
            if before is not None:
                after.tm_update = before.tm_update
                if after == before:
                    return
            after.tm_update = event.at
            if self._is_plain:
                self.rows[key] = after
            else:
                self._rows.put(key, after)
        self.dirty.add(key)
        self.changed = event.position
        if self._on_change is not None:
            self._on_change(event, key, before, after)

    def _fold_snapshot(self, event: RecordedEvent, headers: dict[str, Any]) -> None:
        snapshots = self.state.snapshots
        if event.name == "SnapshotStarted":
            snapshots[event.pbx] = Snapshot(headers["epoch"], set(self.model.lists))
            return
        if event.name in {"SnapshotCompleted", "Disconnected"}:
            snapshots.pop(event.pbx, None)
            return
        snapshot = snapshots.get(event.pbx)
        action, outcome = headers["action"], headers["outcome"]
        if snapshot is None or snapshot.epoch != headers["epoch"] or action not in snapshot.open:
            return
        if outcome in {"complete", "empty"}:
            self._sweep(event, snapshot, self.model.lists[action])
        snapshot.open.discard(action)
        if not snapshot.open:
            del snapshots[event.pbx]

    def _sweep(self, event: RecordedEvent, snapshot: Snapshot, is_listed: Callable[[Any], bool] | None) -> None:
        """Delete the PBX's rows that a complete list did not name; ``is_listed`` selects the rows that it covers."""
        for key, row in list(self.rows.items()):
            if key[0] == event.pbx and not snapshot.is_marked(key) and (is_listed is None or is_listed(row)):
                self._set(key, row, None, event)
