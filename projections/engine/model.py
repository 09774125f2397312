"""The definition of a read model: a row that is a table, and a handler for each event name."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, final

from msgspec import Struct, field
from msgspec.structs import force_setattr

from projections.engine.derived import Parts, Sums
from projections.engine.keys import Key

if TYPE_CHECKING:
    from projections.engine.machine import Machine

__all__ = ["GroupHandler", "Handler", "Input", "Key", "ReadModel", "Row"]


class Row(Struct):
    """Base of every model's row; its fields are the columns of the model's table.

    The engine owns ``tm_update`` (UTC): the time of the last event that changed anything else in the row.
    """

    pbx: str
    tm_update: datetime


R = TypeVar("R", bound=Row)


class EventInput(Struct, frozen=True, kw_only=True):
    """Base of all that takes an event as ``shape``; ``sources`` are those whose events the shape is of."""

    sources: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        shape = self.shape  # type: ignore[attr-defined]  # each subclass has it as its first member
        sources = {getattr(shape, "source_of_events", "ami"), getattr(shape, "also_from", None)}
        force_setattr(self, "sources", frozenset(one for one in sources if one is not None))


@final
class Handler(EventInput, frozen=True):
    """How a model handles an event: decode it as ``shape``, find the row by ``key``, fold.

    ``key`` returns the key (without pbx), a list of keys for several rows, or None for no row. ``fold`` is called once
    per key with (row or None, event) and returns the new row, or None to delete it. A fold never changes the row it
    is given. ``initial`` makes the row of a key that has none, where the event alone does not say which row it is.

    ``deletes_unseen`` marks an event that ends its row, even a row that the model does not have (Hangup): a later list
    item, written before the event, must not create the row again.

    ``list_item_wins`` is for list items that Asterisk makes while it writes them. One thread of an AMI session writes
    events and lists, so everything before the item is older. The item also replaces a row that a live event touched.
    (A live event after the item may still be the older one.)

    Asterisk 16 lists channels from a cache that may be milliseconds behind its events. The next event of the channel,
    or the next list, corrects the row.

    ``match_column`` names one or more columns other than the key. ``key`` then returns (value,), and the rows of that
    PBX with this value in one of the columns (as an item, where the column is a list) are folded; no row is created.
    This reads all rows of the PBX, so it is for small tables and rare events.

    ``context`` is for an event whose meaning depends on earlier events about other rows. It is called once per event,
    in log order, with the model's memory of this PBX (a small dict of JSON values; replace a value, never change it)
    and the event. ``key`` and ``fold`` receive its result instead of the event.
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
class GroupHandler(EventInput, frozen=True):
    """A handler of an event that moves several rows of one group: ``fold`` takes and returns all rows by key.

    ``key`` returns the whole key of the row that the event is about, or only its first ``ReadModel.grouped_by`` parts
    when it is about them all. These parts are the group; with 0 parts the group is all rows of the PBX. A change of
    rows that the event is not about does not protect them from a sweep. The options are those of `Handler`.
    """

    shape: type[Any]
    key: Callable[[Any], Key | None]
    fold: Callable[[dict[Key, Any], Any], dict[Key, Any]]
    deletes_unseen: bool = False
    list_item_wins: bool = False
    context: Callable[[dict[str, Any], Any], Any] | None = None


@final
class Input(EventInput, frozen=True):
    """An event that a model's machine receives as ``shape``, unless ``is_needed`` returns False for it.

    ``is_needed`` is for an event that comes often and of which few change anything (VarSet).
    """

    shape: type[Any]
    is_needed: Callable[[Any], bool] | None = None


class ReadModel(Struct, frozen=True):
    """One read model: a table, made from ``row``, that is a fold of the log.

    ``on`` maps event names of the log to handlers. ``lists`` names the snapshot actions that list all rows of a PBX
    (with a predicate where one action lists only a part). When such a list is complete, the engine deletes rows that
    neither the list nor an event since its request has named.

    Raise ``version`` whenever rows would differ. ``is_state`` is False for a model that grows with time, whatever the
    size of the PBX. Its rows are not saved at intervals, because they would become too large.

    ``machine`` makes the fold of a model whose events do not name their rows (`Machine`); ``on`` then maps event names
    to `Input`. ``end_column`` is the column without a value in open rows, which the machine holds. ``lookup`` names the
    `Parts` with a column ``id``, by which ended rows are found. ``number_column`` is the column with the position of a
    row's first event.

    ``derived`` are tables that follow from the rows. ``indexes`` are statements that create secondary indexes, with
    ``{table}`` and ``{name}`` for the table's qualified name and for its name: index names begin with it. A change of
    either needs another version, like a change of rows. ``matched_columns`` follows from ``on``: all columns that
    handlers match.
    """

    name: str
    version: int
    row: type[Row]
    key: tuple[str, ...]
    on: Mapping[str, Handler | GroupHandler | Input]
    lists: Mapping[str, Callable[[Any], bool] | None] = field(default_factory=dict)
    grouped_by: int | None = None
    is_state: bool = True
    machine: Callable[[], "Machine"] | None = None
    end_column: str = ""
    lookup: str = ""
    number_column: str = ""
    derived: tuple[Parts | Sums, ...] = ()
    indexes: tuple[str, ...] = ()
    matched_columns: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        handlers = [one for one in self.on.values() if isinstance(one, Handler)]
        force_setattr(self, "matched_columns", frozenset(c for one in handlers for c in one.match_columns))
        for parts in self.derived:
            if type(parts) is Parts and not set(self.key) <= set(parts.key):
                raise ValueError(f"{parts.name}: the key lacks {', '.join(set(self.key) - set(parts.key))}")
        if self.lookup and not any(
            d.name == self.lookup and type(d) is Parts and d.key[0] == "id" for d in self.derived
        ):
            raise ValueError(f"{self.name}: no parts {self.lookup} whose key begins with id")
        if self.machine is not None and not self.end_column:
            raise ValueError(f"{self.name}: a machine needs a column without a value in open rows")
