"""How a read model is defined, and how events are folded into its rows. No I/O: rows come in, rows go out."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field

from schemas.ami import AmiEvent
from schemas.log import Recorded

Key = tuple[Any, ...]

EPOCH = re.compile(r"[0-9]{1,12}\Z", re.ASCII)


class Row(Struct):
    """Base of every model's row, which is its table too: fields are columns.

    ``tm_update`` (UTC) belongs to the engine: the time of the last event that changed anything else in the row.
    """

    pbx: str
    tm_update: datetime


R = TypeVar("R", bound=Row)


class On(Struct, frozen=True):
    """What a model does with an event: decode it as ``shape``, find the row by ``key``, fold.

    ``key`` returns the key (without pbx), None when the event is not about a row, or a list of keys when it is about
    several; ``fold`` is called once for each and returns the new row, or None to delete it. A fold never changes the
    row it is given. ``blank`` makes the row for a key that has none, where the event alone cannot say which it is.
    ``ends`` marks an event that ends its row whether we know the row or not (Hangup): a list item that was on its
    way then must not bring it back.

    ``recall`` is for what an event means only after others, which are about other rows. It is called once for each
    event, in log order: it takes what the model remembers of this PBX (a small dict of JSON values, for it to change)
    and the event, and returns what ``key`` and ``fold`` are given instead.

    ``newer`` is for list items that Asterisk makes while it writes them: one thread of a session writes its events and
    its lists, so whatever stands before the item is older news, and the item is taken for a row that a live event
    touched too. (A live event that comes after the item may still be the older one.)

    ``by`` names a column other than the key: ``key`` then returns (value,), the rows of that PBX with this value are
    folded, and none is made. It reads all rows of the PBX, so it is for small tables.
    """

    shape: type[Any]
    key: Callable[[Any], Key | list[Key] | None]
    fold: Callable[[Any, Any], Any]
    ends: bool = False
    newer: bool = False
    by: str = ""
    blank: Callable[[Key, Any], Any] | None = None
    recall: Callable[[dict[str, Any], Any], Any] | None = None


class OnGroup(Struct, frozen=True):
    """As `On`, for an event that moves several rows of one group: ``fold`` takes and returns all rows by key.

    ``key`` returns the whole key of the row that the event is about; its first ``Model.grouped_by`` parts are the
    group (all rows of the PBX with 0). What the event does to other rows says where they stand, not that they are
    there: a sweep may take them. An event that is about no single row has a key of the group's parts only: it counts
    for every row that it changes.
    """

    shape: type[Any]
    key: Callable[[Any], Key | None]
    fold: Callable[[dict[Key, Any], Any], dict[Key, Any]]
    ends: bool = False
    newer: bool = False


class Model(Struct, frozen=True):
    """One read model: a table, made from ``row``, that is a fold of the log.

    ``on`` maps the log's event names to handlers. ``lists`` names the snapshot actions that list all rows of a PBX
    (with a predicate where one action lists only a part): when such a list is complete, rows that it did not name,
    and that nothing touched since it was asked for, are deleted. Raise ``version`` whenever rows would differ.
    """

    name: str
    version: int
    row: type[Row]
    key: tuple[str, ...]
    on: Mapping[str, On | OnGroup]
    lists: Mapping[str, Callable[[Any], bool] | None] = field(default_factory=dict)
    grouped_by: int | None = None


class Snapshot(Struct):
    """What a model remembers of the snapshot under way at one PBX, for as long as it lasts.

    ``marks``: rows seen since it started, by key: ``listed``, ``live`` (a live event came; a list item is older news),
    ``gone`` (a live event deleted it; a list item must not bring it back).
    """

    epoch: int
    open: set[str]
    marks: dict[str, str] = field(default_factory=dict)


class State(Struct):
    """What a model remembers between batches besides its rows."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    memory: dict[str, dict[str, Any]] = field(default_factory=dict)


def listed(headers: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return (epoch, action) if an ActionID says that the block answers a snapshot of ours."""
    action_id = headers.get("ActionID", "")
    if not action_id.startswith("ringledger/"):
        return None
    parts = action_id.split("/")
    # Anybody may send an ActionID that looks like ours: int() takes no "²" and no number of 5,000 digits.
    return (int(parts[1]), parts[2]) if len(parts) > 2 and EPOCH.match(parts[1]) else None


def headers_of(event: Recorded) -> dict[str, Any]:
    """Decode an event's bytes into its headers; repeated ones are joined by LF, empty ones left out.

    Bytes that are no UTF-8, and NUL, which PostgreSQL's text cannot hold, become U+FFFD here; the log keeps them.
    """
    if event.source != "ami":
        decoded: dict[str, Any] = msgspec.json.decode(event.raw)
        return decoded
    text = event.raw.decode("utf-8", "replace")
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    headers: dict[str, Any] = {}
    for line in text.split("\r\n"):
        name, _, value = line.partition(":")
        if value:
            value = value[1:] if value[0] == " " else value
            if value:
                headers[name] = value if name not in headers else f"{headers[name]}\n{value}"
    return headers


class Decoded:
    """One event, its headers parsed once and each shape converted once, however many models want it."""

    __slots__ = ("_headers", "_shapes", "event", "item")

    def __init__(self, event: Recorded) -> None:
        self.event = event
        self._headers = headers_of(event)
        self._headers["_pbx"] = event.pbx
        self._headers["_at"] = event.at
        self._headers["_position"] = event.position
        self._shapes: dict[type[Any], Any] = {}
        self.item = listed(self._headers)

    def as_(self, shape: type[Any]) -> Any:
        """Return the event as ``shape``. Raises ValueError if a header's value does not fit."""
        got = self._shapes.get(shape)
        if got is None:
            try:
                got = self._shapes[shape] = msgspec.convert(self._headers, shape, strict=False)
            except msgspec.ValidationError as error:
                raise ValueError(str(error)) from None
        return got


class Fold:
    """One model over one batch: holds the batch's rows by full key (pbx first) and knows which must be written.

    The caller loads rows (`wants` says which) with `load`, calls `apply` for every event in order, then writes
    ``dirty`` rows: those in ``rows`` are upserted, the others deleted. ``changed`` is the position of the last event
    that changed a row. ``unfit`` are events whose values did not convert (position, name, error): the PBX's fault,
    so the model goes on without them; any other error is ours and is raised.
    """

    def __init__(self, model: Model, state: State) -> None:
        self.model = model
        self.state = state
        self.rows: dict[Key, Row] = {}
        self.dirty: set[Key] = set()
        self.changed = 0
        self.unfit: list[tuple[int, str, str]] = []
        self._groups: dict[Key, set[Key]] = {}
        self._columns = {on.by for on in model.on.values() if isinstance(on, On) and on.by}
        self._index: dict[tuple[str, str, Any], set[Key]] = {}
        self._recalled: dict[int, Any] = {}

    def wants(self, decoded: Decoded, keys: set[Key], groups: set[Key], pbxes: set[str]) -> None:
        """Add to the sets what must be loaded before this event can be applied."""
        try:
            self._wants(decoded, keys, groups, pbxes)
        except ValueError as error:
            self.unfit.append((decoded.event.position, decoded.event.name, str(error)))

    def _wants(self, decoded: Decoded, keys: set[Key], groups: set[Key], pbxes: set[str]) -> None:
        event = decoded.event
        on = self.model.on.get(event.name)
        if on is not None:
            if isinstance(on, OnGroup):
                about = on.key(decoded.as_(on.shape))
                if about is not None:
                    groups.add((event.pbx, *about[: self.model.grouped_by]))
            elif on.by:
                if _keys(on, self._shaped(on, decoded)):
                    pbxes.add(event.pbx)
            else:
                for key in _keys(on, self._shaped(on, decoded)):
                    if self.model.grouped_by is not None:
                        groups.add((event.pbx, *key[: self.model.grouped_by]))
                    else:
                        keys.add((event.pbx, *key))
        elif event.name == "SnapshotListed" and event.source == "ringledger" and self.model.lists:
            pbxes.add(event.pbx)

    def load(self, rows: Iterable[Row], key_of: Callable[[Any], Key]) -> None:
        """Take rows that stand in the table."""
        for row in rows:
            self._put(key_of(row), row)

    def apply(self, decoded: Decoded) -> None:
        """Fold one event. Raises whatever the model's fold raises, except ValueError."""
        if self.unfit and any(decoded.event.position == position for position, _, _ in self.unfit):
            return
        try:
            self._apply(decoded)
        except ValueError as error:
            self.unfit.append((decoded.event.position, decoded.event.name, str(error)))

    def _apply(self, decoded: Decoded) -> None:
        event = decoded.event
        on = self.model.on.get(event.name)
        if on is not None:
            if isinstance(on, OnGroup):
                self._apply_group(on, decoded.as_(on.shape), decoded)
            elif on.by:
                shaped = self._shaped(on, decoded)
                for (value,) in _keys(on, shaped):
                    for found in sorted(self._index.get((event.pbx, on.by, value), ())):
                        self._apply_row(on, found, shaped, decoded)
            else:
                shaped = self._shaped(on, decoded)
                for key in _keys(on, shaped):
                    self._apply_row(on, (event.pbx, *key), shaped, decoded)
        if event.source == "ringledger" and self.model.lists:
            self._snapshot(decoded)

    def _shaped(self, on: On, decoded: Decoded) -> Any:
        if on.recall is None:
            return decoded.as_(on.shape)
        event = decoded.event
        if event.position not in self._recalled:
            memory = self.state.memory.setdefault(event.pbx, {})
            self._recalled[event.position] = on.recall(memory, decoded.as_(on.shape))
        return self._recalled[event.position]

    def _apply_row(self, on: On, key: Key, shaped: AmiEvent, decoded: Decoded) -> None:
        if self._is_stale(on, key, decoded):
            return
        old = self.rows.get(key)
        new = on.fold(on.blank(key[1:], shaped) if old is None and on.blank is not None else old, shaped)
        self._note(on, key, old, new, decoded)
        self._set(key, old, new, decoded.event)

    def _apply_group(self, on: OnGroup, shaped: AmiEvent, decoded: Decoded) -> None:
        event = decoded.event
        about = on.key(shaped)
        if about is None or (len(about) == len(self.model.key) and self._is_stale(on, (event.pbx, *about), decoded)):
            return
        group = (event.pbx, *about[: self.model.grouped_by])
        before = {key[1:]: self.rows[key] for key in self._groups.get(group, ())}
        after = on.fold(dict(before), shaped)
        for bare in [about] if len(about) == len(self.model.key) else before.keys() | after.keys():
            if bare == about or before.get(bare) is not after.get(bare):
                self._note(on, (event.pbx, *bare), before.get(bare), after.get(bare), decoded)
        for bare in before.keys() | after.keys():
            self._set((event.pbx, *bare), before.get(bare), after.get(bare), event)

    def _is_stale(self, on: On | OnGroup, key: Key, decoded: Decoded) -> bool:
        """Mark the row as listed if the event is a list item; return whether a live event has overtaken the item."""
        snapshot = self.state.snapshots.get(key[0])
        if snapshot is None or decoded.item is None:
            return False
        if decoded.item[0] != snapshot.epoch or decoded.item[1] not in self.model.lists:
            return snapshot.marks.get(_mark(key)) == "gone"
        mark = snapshot.marks.setdefault(_mark(key), "listed")
        return mark == "gone" or (mark == "live" and not on.newer)

    def _note(self, on: On | OnGroup, key: Key, old: Any, new: Any, decoded: Decoded) -> None:
        """Remember what a live event said about its row while a snapshot is under way."""
        snapshot = self.state.snapshots.get(key[0])
        if snapshot is None or decoded.item is not None:
            return
        if new is not None:
            snapshot.marks[_mark(key)] = "live"
        elif on.ends or old is not None:
            snapshot.marks[_mark(key)] = "gone"

    def _set(self, key: Key, old: Any, new: Any, event: Recorded) -> None:
        if new is old:
            return
        if new is None:
            self._drop(key)
        else:
            if old is not None:
                new.tm_update = old.tm_update
                if new == old:
                    return
            new.tm_update = event.at
            self._put(key, new)
        self.dirty.add(key)
        self.changed = event.position

    def _put(self, key: Key, row: Row) -> None:
        for column in self._columns:
            old = self.rows.get(key)
            if old is not None:
                self._index[key[0], column, getattr(old, column)].discard(key)
            self._index.setdefault((key[0], column, getattr(row, column)), set()).add(key)
        self.rows[key] = row
        if self.model.grouped_by is not None:
            self._groups.setdefault(key[: 1 + self.model.grouped_by], set()).add(key)

    def _drop(self, key: Key) -> None:
        row = self.rows.pop(key)
        for column in self._columns:
            self._index[key[0], column, getattr(row, column)].discard(key)
        if self.model.grouped_by is not None:
            self._groups[key[: 1 + self.model.grouped_by]].discard(key)

    def _snapshot(self, decoded: Decoded) -> None:
        event = decoded.event
        if event.name == "SnapshotStarted":
            self.state.snapshots[event.pbx] = Snapshot(_epoch(decoded), set(self.model.lists))
        elif event.name in {"SnapshotCompleted", "Disconnected"}:
            self.state.snapshots.pop(event.pbx, None)
        elif event.name == "SnapshotListed":
            snapshot = self.state.snapshots.get(event.pbx)
            headers = decoded.as_(dict)
            action, outcome = headers["action"], headers["outcome"]
            if snapshot is None or snapshot.epoch != headers["epoch"] or action not in snapshot.open:
                return
            if outcome in {"complete", "empty"}:
                self._sweep(event, snapshot, self.model.lists[action])
            snapshot.open.discard(action)
            if not snapshot.open:
                del self.state.snapshots[event.pbx]

    def _sweep(self, event: Recorded, snapshot: Snapshot, part: Callable[[Any], bool] | None) -> None:
        for key, row in list(self.rows.items()):
            if key[0] == event.pbx and _mark(key) not in snapshot.marks and (part is None or part(row)):
                self._set(key, row, None, event)


def _keys(on: On, shaped: Any) -> list[Key]:
    key = on.key(shaped)
    if key is None:
        return []
    return key if type(key) is list else [key]  # type: ignore[list-item]


def _mark(key: Key) -> str:
    return "\x1f".join(map(str, key[1:]))


def _epoch(decoded: Decoded) -> int:
    epoch: int = decoded.as_(dict)["epoch"]
    return epoch
