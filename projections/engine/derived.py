"""Derived tables: rows that follow from a model's rows, and are written, swapped and rebuilt together with them."""

import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, final

import msgspec
from msgspec import Struct

from projections.engine.keys import Key, is_short


class DerivedRow(Struct):
    """Base of the rows of derived tables; the fields are the table's columns.

    It has no ``tm_update``: the row follows from rows of the model, whatever the order in which these changed.
    """

    pbx: str


@final
class Parts(Struct, frozen=True):
    """Rows that follow from one row: the ids of a call, its tags.

    ``of`` returns the parts of a row, all of its PBX. Their ``key`` includes the model's key, so no two rows have a
    part in common. When the row changes, its parts are replaced.
    """

    name: str
    row: type[DerivedRow]
    key: tuple[str, ...]
    of: Callable[[Any], Iterable[Any]]
    indexes: tuple[str, ...] = ()


@final
class Sums(Struct, frozen=True):
    """Rows that are sums over all rows of the model: the calls of each queue and hour.

    ``of`` returns what one row contributes, as rows of this table. ``add`` and ``subtract`` take a sum and a
    contribution with the same key, and return the new sum. The defaults of the other columns are zero: a sum that has
    come back to them is deleted.

    The order must not matter, because a batch may add and subtract in any. So amounts are integers (of microseconds,
    for example) or sorted lists, never floats. Raises ValueError for a float column or one without a default.
    """

    name: str
    row: type[DerivedRow]
    key: tuple[str, ...]
    of: Callable[[Any], Iterable[Any]]
    add: Callable[[Any, Any], Any]
    subtract: Callable[[Any, Any], Any]
    indexes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(self.row)
        for field in msgspec.structs.fields(self.row):
            if field.name in {"pbx", *self.key}:
                continue
            if field.required:
                raise ValueError(f"{self.name}: column {field.name} has no default, its zero")
            if float in {hints[field.name], *typing.get_args(hints[field.name])}:
                raise ValueError(f"{self.name}: column {field.name} is a float, whose sums depend on their order")

    def zero(self, key: Key) -> Any:
        """Return the sum over no rows; ``key`` begins with the pbx."""
        return self.row(**dict(zip(("pbx", *self.key), key, strict=True)))


Derived = Parts | Sums


def rows_of(derived: Derived, rows: Iterable[Any]) -> list[Any]:
    """Return all rows of a derived table, made from all rows of the model."""
    if type(derived) is Parts:
        return [part for row in rows for part in _ones_of(derived, row).values()]
    changed = ((None, row) for row in rows)
    return changes_of(derived, changed).apply({})[1]


def _ones_of(parts: Parts, row: Any) -> dict[Key, Any]:
    """Return the parts of a row by key; those whose key is too long for the index are in the row alone."""
    if row is None:
        return {}
    key_of = _key_getter(parts.key)
    return {key: one for one in parts.of(row) if is_short(key := key_of(one))}


@cache
def _key_getter(columns: tuple[str, ...]) -> Callable[[Any], Key]:
    return attrgetter("pbx", *columns) if columns else lambda row: (row.pbx,)


class DerivedChange(Struct, frozen=True):
    """The changes of one derived table by a batch.

    ``deleted`` and ``written`` are parts. ``differences`` are the contributions to subtract and to add, by key of the
    sum; `apply` makes sums of them.
    """

    derived: Derived
    deleted: list[Key]
    written: list[Any]
    differences: dict[Key, tuple[list[Any], list[Any]]]

    def apply(self, present: Mapping[Key, Any]) -> tuple[list[Key], list[Any]]:
        """Return the keys of rows to delete and the rows to write; ``present`` holds the touched sums that exist."""
        if type(self.derived) is Parts:
            return self.deleted, self.written
        sums = self.derived
        assert type(sums) is Sums
        deleted, written = [], []
        for key, (before, after) in self.differences.items():
            zero = sums.zero(key)
            total = old = present.get(key, zero)
            for one in after:
                total = sums.add(total, one)
            for one in before:
                total = sums.subtract(total, one)
            if total == zero:
                deleted.append(key)
            elif total != old:
                written.append(total)
        return deleted, written


LastParts = dict[int, tuple[Any, dict[Key, Any]]]
"""Rows with their parts, by the identity of the row; the row is there so that no other one has its identity."""


def changes_of(derived: Derived, changed: Iterable[tuple[Any, Any]], last: LastParts | None = None) -> DerivedChange:
    """Return what follows for a derived table from rows (before, after) of the model.

    None stands for a row that does not exist. ``last`` has the parts of rows as they were made: those of a row before
    are taken out, and those of the row after are put in.
    """
    last = {} if last is None else last
    change = DerivedChange(derived, [], [], {})
    key_of = _key_getter(derived.key)
    for before, after in changed:
        if type(derived) is Parts:
            made = last.pop(id(before), None)
            present = _ones_of(derived, before) if made is None else made[1]
            later = _ones_of(derived, after)
            if after is not None:
                last[id(after)] = (after, later)
            if present != later:
                change.deleted.extend(present.keys() - later.keys())
                change.written.extend([one for key, one in later.items() if present.get(key) != one])
            continue
        old = [] if before is None else list(derived.of(before))
        new = [] if after is None else list(derived.of(after))
        if old != new:
            for index, ones in enumerate((old, new)):
                for one in ones:
                    if is_short(key := key_of(one)):
                        change.differences.setdefault(key, ([], []))[index].append(one)
    return change
