"""Tables of read models, made from their Structs, and the static SQL that reads and writes them."""

import inspect
import types
import typing
from collections.abc import Sequence
from datetime import datetime
from functools import cache, cached_property
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from projections.engine.derived import Parts
from projections.engine.model import Key, ReadModel

TYPES: dict[Any, str] = {
    str: "text",
    int: "bigint",
    float: "double precision",
    bool: "boolean",
    datetime: "timestamptz",
    dict: "jsonb",
    list: "jsonb",
    tuple: "jsonb",
}


def _column_type(annotation: Any) -> str:
    if typing.get_origin(annotation) in {types.UnionType, typing.Union}:
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    return TYPES[typing.get_origin(annotation) or annotation]


def _is_list(annotation: Any) -> bool:
    parts = (annotation, *typing.get_args(annotation))
    return any((typing.get_origin(part) or part) in {list, tuple} for part in parts)


def _raw(value: Any) -> Any:
    # asyncpg would take a list in an array of jsonb for a second dimension of the array.
    return None if value is None else msgspec.Raw(msgspec.json.encode(value))


class RowColumns(NamedTuple):
    """The columns of a row's Struct: annotations, types in SQL, those that hold lists, and how a row is made."""

    annotations: dict[str, Any]
    types: dict[str, str]
    lists: frozenset[str]
    is_keyword_only: bool


@cache
def columns_of(row: type[Struct]) -> RowColumns:
    """Return the columns of a row; typing takes 0.4 ms for a row, and an API makes a hundred tables."""
    hints = typing.get_type_hints(row)
    annotations = {f.name: hints[f.name] for f in msgspec.structs.fields(row)}
    parameters = inspect.signature(row).parameters.values()
    return RowColumns(
        annotations,
        {name: _column_type(hint) for name, hint in annotations.items()},
        frozenset(name for name, hint in annotations.items() if _is_list(hint)),
        any(one.kind is inspect.Parameter.KEYWORD_ONLY for one in parameters),
    )


class RowTable:
    """A table of rows of one Struct, without and with ``schema``: search_path finds the bare name.

    A statement is made when it is first read: most tables of a process need one or two.
    """

    def __init__(
        self,
        bare_name: str,
        row: type[Struct],
        key: tuple[str, ...],
        schema: str = "",
        *,
        indexes: Sequence[str] = (),
        fill: int = 70,
    ) -> None:
        self.schema = schema
        self.bare_name = bare_name
        self.name = f"{schema}.{bare_name}" if schema else bare_name
        self._row: Any = row
        self._hints, self.columns, self._lists, self._is_keyword_only = columns_of(row)
        self.key = ("pbx", *key)
        self._indexes = indexes
        self._fill = fill

    @cached_property
    def create(self) -> str:
        """The CREATE TABLE, and the statements of the secondary indexes."""
        columns = [f"{n} {t}{'' if self._nullable(self._hints[n]) else ' NOT NULL'}" for n, t in self.columns.items()]
        keys = ", ".join(self.key)
        table = (
            f"CREATE TABLE {self.name} ({', '.join(columns)}, PRIMARY KEY ({keys})) WITH (fillfactor = {self._fill})"
        )
        return ";\n".join([table, *[index.format(table=self.name, name=self.bare_name) for index in self._indexes]])

    @cached_property
    def upsert(self) -> str:
        """The INSERT of the rows of `arrays`, which replace rows of the same keys."""
        return self._insert(f"SELECT * FROM unnest({self._arrays(1)})")

    @cached_property
    def upsert_json(self) -> str:
        """The same INSERT of the rows of `json`. A client encodes a row in a fifth of the time of `arrays`."""
        columns = ", ".join(self.columns)
        return self._insert(f"SELECT {columns} FROM json_populate_recordset(NULL::{self.name}, $1::text::json)")

    def _insert(self, rows: str) -> str:
        rest = [n for n in self.columns if n not in self.key]
        update = f"DO UPDATE SET ({', '.join(rest)}) = ROW({', '.join(f'excluded.{n}' for n in rest)})"
        return (
            f"INSERT INTO {self.name} ({', '.join(self.columns)}) {rows} "
            f"ON CONFLICT ({', '.join(self.key)}) {update if rest else 'DO NOTHING'}"
        )

    @cached_property
    def delete(self) -> str:
        """The DELETE of the rows with the keys of `key_arrays`."""
        return f"DELETE FROM {self.name} t USING {self._keys(self.key)} WHERE {self._match(self.key)}"

    @cached_property
    def select(self) -> str:
        """The SELECT of the rows with the keys of `key_arrays`."""
        return self._select_by(self.key)

    @property
    def _select_all(self) -> str:
        return f"SELECT {', '.join(f't.{n}' for n in self.columns)} FROM {self.name} t"

    def _select_by(self, columns: tuple[str, ...]) -> str:
        return f"{self._select_all} JOIN {self._keys(columns)} ON {self._match(columns)}"

    @staticmethod
    def _nullable(annotation: Any) -> bool:
        return type(None) in typing.get_args(annotation)

    def shadow(self, first: int) -> str:
        """Return the CTE that stands for the table in one query: `arrays` from parameter ``first`` on are its rows."""
        return f"{self.bare_name} AS (SELECT * FROM unnest({self._arrays(first)}) AS t ({', '.join(self.columns)}))"

    def _arrays(self, first: int) -> str:
        return ", ".join(f"${i}::{_array(t)}" for i, t in enumerate(self.columns.values(), first))

    def _keys(self, columns: tuple[str, ...]) -> str:
        arrays = ", ".join(f"${i}::{_array(self.columns[c])}" for i, c in enumerate(columns, 1))
        return f"unnest({arrays}) AS k ({', '.join(columns)})"

    @staticmethod
    def _match(columns: tuple[str, ...]) -> str:
        return " AND ".join(f"t.{c} = k.{c}" for c in columns)

    def key_of(self, row: Any) -> Key:
        """Return the row's full key, pbx first."""
        return tuple(getattr(row, c) for c in self.key)

    def rows(self, records: list[Any]) -> list[Any]:
        """Make rows of what a select of this table returned."""
        if self._is_keyword_only:
            return [self._row(**dict(zip(self.columns, record, strict=True))) for record in records]
        return [self._row(*record) for record in records]

    def arrays(self, rows: Sequence[Any]) -> list[list[Any]]:
        """Return one list per column, as ``upsert`` and `shadow` take them."""
        return [[_raw(getattr(row, c)) if c in self._lists else getattr(row, c) for row in rows] for c in self.columns]

    @staticmethod
    def json(rows: Sequence[Any]) -> str:
        """Return rows as ``upsert_json`` takes them."""
        return msgspec.json.encode(rows).decode()

    def key_arrays(self, keys: list[Key]) -> list[list[Any]]:
        """Return one list per key column, as ``delete`` and the selects take them."""
        return [list(part) for part in zip(*keys, strict=True)] or [[] for _ in self.key]


class Table(RowTable):
    """One model's table; ``derived`` are the tables that follow from it, in the model's order."""

    def __init__(self, model: ReadModel, schema: str = "") -> None:
        indexes = list(model.indexes)
        if model.end_column:
            indexes.append(f"CREATE INDEX {{name}}_open ON {{table}} (pbx) WHERE {model.end_column} IS NULL")
        super().__init__(model.name, model.row, model.key, schema, indexes=indexes)
        self.model = model
        self.derived = [
            RowTable(d.name, d.row, d.key, schema, indexes=d.indexes, fill=100 if isinstance(d, Parts) else 70)
            for d in model.derived
        ]

    @cached_property
    def create(self) -> str:
        """The statements that create the model's table and those that follow from it."""
        comment = derived_comment(self.model.name)
        derived = [f"{d.create};\nCOMMENT ON TABLE {d.name} IS '{comment}'" for d in self.derived]
        return ";\n".join([super().create, *derived])

    @cached_property
    def select_group(self) -> str:
        """The SELECT of the rows of groups, for a model with ``grouped_by``."""
        return self._select_by(self.key[: 1 + (self.model.grouped_by or 0)])

    @cached_property
    def select_pbx(self) -> str:
        """The SELECT of all rows of some PBXs."""
        return f"{self._select_all} WHERE pbx = ANY($1::text[])"

    @cached_property
    def select_open(self) -> str:
        """The SELECT of all open rows, for a model with a machine."""
        return f"{self._select_all} WHERE {self.model.end_column} IS NULL"

    @cached_property
    def select_ended(self) -> str:
        """The SELECT of the ended rows that have one of the ids: arrays of PBXs and of ids."""
        ids = f"{self.schema}.{self.model.lookup}" if self.schema else self.model.lookup
        return (
            f"{self._select_all} WHERE {self.model.end_column} IS NOT NULL AND ({', '.join(self.key)}) IN "
            f"(SELECT {', '.join(f'i.{name}' for name in self.key)} FROM {ids} i "
            "JOIN unnest($1::text[], $2::text[]) AS k (pbx, id) ON i.pbx = k.pbx AND i.id = k.id)"
        )

    @cached_property
    def save(self) -> str:
        """The INSERT of all rows, in parts of $4 rows, into the saved state of a model, version and position.

        The ended rows of a history model with a machine are left out.
        """
        is_open = ""
        if self.model.machine is not None and not self.model.is_state:
            is_open = f" WHERE {self.model.end_column} IS NULL"
        return (
            "INSERT INTO ledger.saved_rows (model, version, changed, part, rows) "
            "SELECT $1, $2, $3, n / $4::bigint, json_agg(r) "
            "FROM (SELECT row_to_json(t) AS r, row_number() OVER () - 1 AS n "
            f"FROM {self.name} t{is_open}) AS t GROUP BY 4"
        )

    @property
    def names(self) -> list[str]:
        """The names of this table and of those that follow from it."""
        return [self.name, *[table.name for table in self.derived]]


def derived_comment(model: str) -> str:
    """Return PostgreSQL's comment on the tables that follow from a model's: they are dropped with it."""
    return f"follows from {model}"


def _array(kind: str) -> str:
    return f"{kind}[]"
