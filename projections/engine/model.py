"""How a read model is defined, and how events are folded into its rows. No I/O: rows come in, rows go out."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, final

import msgspec
from msgspec import Struct, field

from projections.engine.headers import HeaderSubset, headers_of
from schemas.ami import AmiEvent
from schemas.log import RecordedEvent

Key = tuple[Any, ...]

LONGEST_KEY = 2400
"""Bytes of a row's key that PostgreSQL's index takes (2,704, with its own overhead). No Asterisk has such names."""

# Anybody may send an ActionID that looks like ours, so an epoch has at most as many digits as fit a bigint.
ANSWER = re.compile(rb"\r\nActionID: ringledger/([0-9]{1,18})/([^/\r\n]+)")


class Row(Struct):
    """Base of every model's row, which is its table too: fields are columns.

    ``tm_update`` (UTC) belongs to the engine: the time of the last event that changed anything else in the row.
    """

    pbx: str
    tm_update: datetime


R = TypeVar("R", bound=Row)


@final
class Handler(Struct, frozen=True):
    """What a model does with an event: decode it as ``shape``, find the row by ``key``, fold.

    ``key`` returns the key (without pbx), None when the event is not about a row, or a list of keys when it is about
    several; ``fold`` is called once for each and returns the new row, or None to delete it. A fold never changes the
    row it is given. ``initial`` makes the row for a key that has none, where the event alone cannot say which it is.
    ``deletes_unseen`` marks an event that ends its row, even a row that the model does not have (Hangup): a later list
    item, written before the event, must not create the row again.

    ``list_item_wins`` is for list items that Asterisk makes while it writes them. One thread of an AMI session writes
    events and lists, so everything before the item is older, and the item also replaces a row that a live event
    touched. (A live event after the item may still be the older one.)

    ``match_column`` names one or more columns other than the key. ``key`` then returns (value,), and the rows of that
    PBX with this value in one of the columns (as an item, where the column is a list) are folded; no row is created.
    This reads all rows of the PBX, so it is for small tables and rare events.

    ``context`` is for what an event means only after others, which are about other rows. It is called once for each
    event, in log order: it takes what the model remembers of this PBX (a small dict of JSON values; to change one, put
    another in its place) and the event, and returns what ``key`` and ``fold`` are given instead.
    """

    shape: type[Any]
    key: Callable[[Any], Key | list[Key] | None]
    fold: Callable[[Any, Any], Any]
    deletes_unseen: bool = False
    list_item_wins: bool = False
    match_column: str | tuple[str, ...] = ()
    initial: Callable[[Key, Any], Any] | None = None
    context: Callable[[dict[str, Any], Any], Any] | None = None

    @property
    def match_columns(self) -> tuple[str, ...]:
        """The columns that ``match_column`` names."""
        return (self.match_column,) if isinstance(self.match_column, str) else self.match_column


@final
class GroupHandler(Struct, frozen=True):
    """As `Handler`, for an event that moves several rows of one group: ``fold`` takes and returns all rows by key.

    ``key`` returns the whole key of the row that the event is about, or only its first ``ReadModel.grouped_by``
    parts when it is about them all. These parts are the group; with 0 parts the group is all rows of the PBX. A change
    of rows that the event is not about does not protect them from a sweep. ``context`` is that of `Handler`.
    """

    shape: type[Any]
    key: Callable[[Any], Key | None]
    fold: Callable[[dict[Key, Any], Any], dict[Key, Any]]
    deletes_unseen: bool = False
    list_item_wins: bool = False
    context: Callable[[dict[str, Any], Any], Any] | None = None


class ReadModel(Struct, frozen=True):
    """One read model: a table, made from ``row``, that is a fold of the log.

    ``on`` maps the log's event names to handlers. ``lists`` names the snapshot actions that list all rows of a PBX
    (with a predicate where one action lists only a part): when such a list is complete, rows that it did not name,
    and that nothing touched since it was asked for, are deleted. Raise ``version`` whenever rows would differ.

    ``is_state`` is False for a model that grows with time, whatever the size of the PBX. Its rows are not saved at
    intervals, because they would become too large.
    """

    name: str
    version: int
    row: type[Row]
    key: tuple[str, ...]
    on: Mapping[str, Handler | GroupHandler]
    lists: Mapping[str, Callable[[Any], bool] | None] = field(default_factory=dict)
    grouped_by: int | None = None
    is_state: bool = True


class Snapshot(Struct):
    """What a model remembers of the snapshot under way at one PBX, for as long as it lasts.

    ``marks``: rows seen since it started, by key: ``listed``, ``live`` (a live event came; a list item is older news),
    ``gone`` (a live event deleted it; a list item must not bring it back).
    """

    epoch: int
    open: set[str]
    marks: dict[str, str] = field(default_factory=dict)


class State(Struct, omit_defaults=True):
    """What a model remembers between batches besides its rows."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    memory: dict[str, dict[str, Any]] = field(default_factory=dict)


class DecodedEvent:
    """One event, its headers parsed once and each shape converted once, however many models want it.

    ``chosen`` must name the headers of all shapes that will be asked for; without it all headers are read.
    """

    __slots__ = ("_chosen", "_headers", "_shapes", "event")

    def __init__(self, event: RecordedEvent, chosen: HeaderSubset | None = None) -> None:
        self.event = event
        self._chosen = chosen
        self._headers: dict[str, Any] | None = None
        self._shapes: dict[type[Any], Any] = {}

    def as_(self, shape: type[Any]) -> Any:
        """Return the event as ``shape``. Raises ValueError if a header's value does not fit."""
        got = self._shapes.get(shape)
        if got is None:
            headers = self._headers
            if headers is None:
                event, chosen = self.event, self._chosen
                headers = self._headers = chosen.of(event) if chosen else headers_of(event)
                headers["_pbx"], headers["_at"], headers["_position"] = event.pbx, event.at, event.position
                headers["_recorded"], headers["_source"] = event.recorded, event.source
            try:
                got = self._shapes[shape] = msgspec.convert(headers, shape, strict=False)
            except msgspec.ValidationError as error:
                raise ValueError(str(error)) from None
        return got


def listed(event: RecordedEvent) -> tuple[int, str] | None:
    """Return (epoch, action) if the block answers a snapshot of ours."""
    if event.source != "ami" or (found := ANSWER.search(event.raw)) is None:
        return None
    return int(found[1]), found[2].decode("ascii", "replace")


SNAPSHOTS = frozenset({"SnapshotStarted", "SnapshotListed", "SnapshotCompleted", "Disconnected"})
"""Our own events that begin, end and conclude from snapshots."""


def names_of(model: ReadModel) -> frozenset[str]:
    """Return the names of all events that the model must be given."""
    return frozenset(model.on) | SNAPSHOTS if model.lists else frozenset(model.on)


Subscriptions = dict[str, tuple[HeaderSubset | None, tuple[int, ...]]]
"""By event name: the headers that are read of it, None for all, and which models (by index) take it."""


def subscriptions_of(models: Sequence[ReadModel]) -> Subscriptions:
    """Say who takes which events; the others need not even be read from the log."""
    shapes: dict[str, set[type[Any]]] = {}
    taking: dict[str, tuple[int, ...]] = {}
    for index, model in enumerate(models):
        for name in names_of(model):
            taking[name] = (*taking.get(name, ()), index)
            shapes.setdefault(name, set()).add(model.on[name].shape if name in model.on else dict)
    return {name: (_chosen(shapes[name]), indexes) for name, indexes in taking.items()}


def _chosen(shapes: set[type[Any]]) -> HeaderSubset | None:
    if not all(issubclass(shape, Struct) for shape in shapes):
        return None
    return HeaderSubset(f.encode_name for shape in shapes for f in msgspec.structs.fields(shape))


class Fold:
    """One model over one batch: holds the batch's rows by full key (pbx first) and knows which must be written.

    `take` every event in order, `load` the rows that it asks for in ``keys``, ``groups`` and ``pbxes``, then `run`.
    Then write the ``dirty`` rows: those in ``rows`` are upserted, the others deleted. ``changed`` is the position of
    the last event that changed a row, ``state`` what the model remembers after the batch (the state given is left as
    it was, so a batch that fails can be folded again). Who has loaded all rows may go on, with `take` and `run` again.

    ``unfit`` are events whose values did not convert (position, name, error): the PBX's fault, so the model goes on
    without them. Any other error is ours: it ends the fold and stands in ``error`` with the event; nothing of the batch
    may be written then.
    """

    def __init__(self, model: ReadModel, state: State) -> None:
        self.model = model
        self.state = State(
            {p: Snapshot(s.epoch, set(s.open), dict(s.marks)) for p, s in state.snapshots.items()},
            {p: dict(m) for p, m in state.memory.items()},
        )
        self.rows: dict[Key, Row] = {}
        self.dirty: set[Key] = set()
        self.changed = 0
        self.unfit: list[tuple[int, str, str]] = []
        self.error: tuple[RecordedEvent, Exception] | None = None
        self.keys: set[Key] = set()
        self.groups: set[Key] = set()
        self.pbxes: set[str] = set()
        self._plan: list[tuple[Handler | GroupHandler | None, Key, Any, RecordedEvent]] = []
        self._groups: dict[Key, set[Key]] = {}
        self._columns = {column for on in model.on.values() if isinstance(on, Handler) for column in on.match_columns}
        self._index: dict[tuple[str, str, Any], set[Key]] = {}

    def take(self, decoded: DecodedEvent) -> None:
        """Note an event, and what must be loaded before it can be folded."""
        if self.error is not None:
            return
        try:
            self._take(decoded)
        except (ValueError, OverflowError) as error:
            self.unfit.append((decoded.event.position, decoded.event.name, str(error)))
        except Exception as error:  # noqa: BLE001 (the caller reports it and stops the model)
            self.error = decoded.event, error

    def _take(self, decoded: DecodedEvent) -> None:
        event = decoded.event
        on = self.model.on.get(event.name)
        if on is not None and (
            event.source == getattr(on.shape, "source_of_events", "ami")
            or event.source == getattr(on.shape, "also_from", None)
        ):
            shaped = decoded.as_(on.shape)
            if on.context is not None:
                shaped = on.context(self.state.memory.setdefault(event.pbx, {}), shaped)
            if type(on) is GroupHandler:
                about = on.key(shaped)
                if about is not None:
                    self.groups.add((event.pbx, *about[: self.model.grouped_by]))
                    self._plan.append((on, (event.pbx, *about), shaped, event))
            else:
                key = on.key(shaped)
                if key is not None:
                    for one in key if type(key) is list else (key,):
                        full = (event.pbx, *one)
                        if on.match_column:
                            self.pbxes.add(event.pbx)
                        elif self.model.grouped_by is not None:
                            self.groups.add(full[: 1 + self.model.grouped_by])
                        else:
                            self.keys.add(full)
                        self._plan.append((on, full, shaped, event))
        if event.source == "ringledger" and self.model.lists and event.name in SNAPSHOTS:
            if event.name == "SnapshotListed":
                self.pbxes.add(event.pbx)
            self._plan.append((None, (), decoded.as_(dict), event))

    def load(self, rows: Iterable[Row], key_of: Callable[[Any], Key]) -> None:
        """Take rows that stand in the table."""
        for row in rows:
            self._put(key_of(row), row)

    def run(self) -> None:
        """Fold what was taken, in order."""
        if self.error is not None:
            return
        for on, key, shaped, event in self._plan:
            try:
                if on is None:
                    self._snapshot(event, shaped)
                elif type(on) is GroupHandler:
                    self._fold_group(on, key, shaped, event)
                elif on.match_column:
                    with_it = [self._index.get((key[0], column, key[1]), set()) for column in on.match_columns]
                    for found in sorted(set().union(*with_it)):
                        self._fold_row(on, found, shaped, event)
                else:
                    self._fold_row(on, key, shaped, event)
            except (ValueError, OverflowError) as error:
                self.unfit.append((event.position, event.name, str(error)))
            except Exception as error:  # noqa: BLE001 (the caller reports it and stops the model)
                self.error = event, error
                return
        for served in (self._plan, self.keys, self.groups, self.pbxes):
            served.clear()

    def _fold_row(self, on: Handler, key: Key, shaped: AmiEvent, event: RecordedEvent) -> None:
        old = self.rows.get(key)
        row = on.initial(key[1:], shaped) if old is None and on.initial is not None else old
        snapshot = self.state.snapshots.get(key[0])
        if snapshot is None:
            new = on.fold(row, shaped)
            if old is None and new is not None:
                _check_key(key)
            self._set(key, old, new, event)
            return
        item = listed(event)
        if item is not None and self._is_stale(on, key, item, snapshot):
            return
        new = on.fold(row, shaped)
        if old is None and new is not None:
            _check_key(key)
        if item is None:
            _note(on, key, old, new, snapshot)
        self._set(key, old, new, event)

    def _fold_group(self, on: GroupHandler, key: Key, shaped: AmiEvent, event: RecordedEvent) -> None:
        snapshot = self.state.snapshots.get(event.pbx)
        item = listed(event) if snapshot is not None else None
        about = key[1:]
        of_one = len(about) == len(self.model.key)
        if snapshot is not None and item is not None and of_one and self._is_stale(on, key, item, snapshot):
            return
        members = self._groups.get(key[: 1 + (self.model.grouped_by or 0)], ())
        before = {member[1:]: self.rows[member] for member in members}
        after = on.fold(dict(before), shaped)
        for bare in after.keys() - before.keys():
            _check_key((event.pbx, *bare))
        for bare in before.keys() | after.keys():
            old, new = before.get(bare), after.get(bare)
            if snapshot is not None and item is None and not of_one and new is not old:
                _note(on, (event.pbx, *bare), old, new, snapshot)
            self._set((event.pbx, *bare), old, new, event)
        if snapshot is not None and item is None and of_one:
            _note(on, key, before.get(about), after.get(about), snapshot)

    def _is_stale(self, on: Handler | GroupHandler, key: Key, item: tuple[int, str], snapshot: Snapshot) -> bool:
        """Mark the row as listed if a list of this snapshot says so; tell if a live event has overtaken the item."""
        epoch, action = item
        if epoch != snapshot.epoch or action not in self.model.lists:
            return snapshot.marks.get(_mark(key)) == "gone"
        mark = snapshot.marks.setdefault(_mark(key), "listed")
        return mark == "gone" or (mark == "live" and not on.list_item_wins)

    def _set(self, key: Key, old: Any, new: Any, event: RecordedEvent) -> None:
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

    def _values(self, row: Row) -> Iterator[tuple[str, str, Any]]:
        for column in self._columns:
            value = getattr(row, column)
            for one in value if type(value) is list else (value,):
                yield row.pbx, column, one

    def _put(self, key: Key, row: Row) -> None:
        if self._columns:
            if (old := self.rows.get(key)) is not None:
                for value in self._values(old):
                    self._index[value].discard(key)
            for value in self._values(row):
                self._index.setdefault(value, set()).add(key)
        self.rows[key] = row
        if self.model.grouped_by is not None:
            self._groups.setdefault(key[: 1 + self.model.grouped_by], set()).add(key)

    def _drop(self, key: Key) -> None:
        row = self.rows.pop(key)
        for value in self._values(row):
            self._index[value].discard(key)
        if self.model.grouped_by is not None:
            self._groups[key[: 1 + self.model.grouped_by]].discard(key)

    def _snapshot(self, event: RecordedEvent, headers: dict[str, Any]) -> None:
        if event.name == "SnapshotStarted":
            self.state.snapshots[event.pbx] = Snapshot(headers["epoch"], set(self.model.lists))
        elif event.name in {"SnapshotCompleted", "Disconnected"}:
            self.state.snapshots.pop(event.pbx, None)
        else:
            snapshot = self.state.snapshots.get(event.pbx)
            action, outcome = headers["action"], headers["outcome"]
            if snapshot is None or snapshot.epoch != headers["epoch"] or action not in snapshot.open:
                return
            if outcome in {"complete", "empty"}:
                self._sweep(event, snapshot, self.model.lists[action])
            snapshot.open.discard(action)
            if not snapshot.open:
                del self.state.snapshots[event.pbx]

    def _sweep(self, event: RecordedEvent, snapshot: Snapshot, part: Callable[[Any], bool] | None) -> None:
        for key, row in list(self.rows.items()):
            if key[0] == event.pbx and _mark(key) not in snapshot.marks and (part is None or part(row)):
                self._set(key, row, None, event)


def _check_key(key: Key) -> None:
    """Raise ValueError for a key that no index takes: the event is passed over, and the model goes on."""
    size = sum([len(part.encode("utf-8", "replace")) for part in key if isinstance(part, str)])
    if size > LONGEST_KEY:
        raise ValueError(f"a key of {size} bytes, where {LONGEST_KEY} are the most")


def _mark(key: Key) -> str:
    return "\x1f".join(map(str, key[1:]))


def _note(on: Handler | GroupHandler, key: Key, old: Any, new: Any, snapshot: Snapshot) -> None:
    """Remember what a live event said about a row while a snapshot is under way."""
    if new is not None:
        snapshot.marks[_mark(key)] = "live"
    elif on.deletes_unseen or old is not None:
        snapshot.marks[_mark(key)] = "gone"
