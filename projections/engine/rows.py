"""The rows of one model that a fold holds."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from projections.engine.model import Key, ReadModel, Row


class RowSet:
    """Rows by full key (pbx first), indexed by group and by the columns that the model's handlers match."""

    def __init__(self, model: ReadModel) -> None:
        self.by_key: dict[Key, Row] = {}
        self._columns = model.matched_columns
        self._by_value: dict[tuple[str, str, Any], set[Key]] = {}
        self._group_size = None if model.grouped_by is None else 1 + model.grouped_by
        self._groups: dict[Key, set[Key]] = {}

    def put(self, key: Key, row: Row) -> None:
        """Store a row, or replace the one of this key."""
        if self._columns:
            if (old := self.by_key.get(key)) is not None:
                for value in self._values(old):
                    self._by_value[value].discard(key)
            for value in self._values(row):
                self._by_value.setdefault(value, set()).add(key)
        self.by_key[key] = row
        if self._group_size is not None:
            self._groups.setdefault(key[: self._group_size], set()).add(key)

    def remove(self, key: Key) -> None:
        """Remove the row of this key, which must exist."""
        row = self.by_key.pop(key)
        for value in self._values(row):
            self._by_value[value].discard(key)
        if self._group_size is not None:
            self._groups[key[: self._group_size]].discard(key)

    def group(self, key: Key) -> Collection[Key]:
        """Return the keys of the group to which ``key`` belongs."""
        return self._groups.get(key[: self._group_size], ())

    def matching(self, pbx: str, columns: Iterable[str], value: Any) -> list[Key]:
        """Return the keys of a PBX's rows with this value in one of ``columns``, in order."""
        return sorted(set().union(*[self._by_value.get((pbx, column, value), set()) for column in columns]))

    def _values(self, row: Row) -> Iterator[tuple[str, str, Any]]:
        for column in self._columns:
            value = getattr(row, column)
            for one in value if type(value) is list else (value,):
                yield row.pbx, column, one
