"""Tables of read models, made from their Structs, and the static SQL that reads and writes them."""

import inspect
import types
import typing
from collections.abc import Sequence
from datetime import datetime
from typing import Any

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


class RowTable:
    """A table of rows of one Struct, without and with ``schema``: search_path finds the bare name."""

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
        parameters = inspect.signature(row).parameters.values()
        self._is_keyword_only = any(one.kind is inspect.Parameter.KEYWORD_ONLY for one in parameters)
        hints = typing.get_type_hints(row)
        self.columns = {f.name: _column_type(hints[f.name]) for f in msgspec.structs.fields(row)}
        self._lists = {n for n in self.columns if _is_list(hints[n])}
        self.key = ("pbx", *key)
        names = list(self.columns)
        arrays = self._arrays(1)
        keys = ", ".join(self.key)
        selected = ", ".join(names)
        own = ", ".join(f"t.{n}" for n in names)
        rest = [n for n in names if n not in self.key]
        self.create = (
            f"CREATE TABLE {self.name} ("
            + ", ".join(f"{n} {t}{'' if self._nullable(hints[n]) else ' NOT NULL'}" for n, t in self.columns.items())
            + f", PRIMARY KEY ({keys})) WITH (fillfactor = {fill})"
            + "".join(f";\n{index.format(table=self.name, name=bare_name)}" for index in indexes)
        )
        self.upsert = f"INSERT INTO {self.name} ({selected}) SELECT * FROM unnest({arrays}) ON CONFLICT ({keys}) " + (
            f"DO UPDATE SET ({', '.join(rest)}) = ROW({', '.join(f'excluded.{n}' for n in rest)})"
            if rest
            else "DO NOTHING"
        )
        self.delete = f"DELETE FROM {self.name} t USING {self._keys(self.key)} WHERE {self._match(self.key)}"
        self.select = f"SELECT {own} FROM {self.name} t JOIN {self._keys(self.key)} ON {self._match(self.key)}"

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
    def key_arrays(keys: list[Key]) -> list[list[Any]]:
        """Return one list per key column, as ``delete`` and the selects take them."""
        return [list(part) for part in zip(*keys, strict=True)]


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
        self.create = ";\n".join(
            [
                self.create,
                *[f"{d.create};\nCOMMENT ON TABLE {d.name} IS '{derived_comment(model.name)}'" for d in self.derived],
            ]
        )
        own = ", ".join(f"t.{name}" for name in self.columns)
        group = self.key[: 1 + (model.grouped_by or 0)]
        self.select_group = f"SELECT {own} FROM {self.name} t JOIN {self._keys(group)} ON {self._match(group)}"
        self.select_pbx = f"SELECT {own} FROM {self.name} t WHERE pbx = ANY($1::text[])"
        self.select_open = f"SELECT {own} FROM {self.name} t WHERE {model.end_column} IS NULL"
        ids = f"{schema}.{model.lookup}" if schema else model.lookup
        self.select_ended = (
            f"SELECT {own} FROM {self.name} t WHERE {model.end_column} IS NOT NULL AND ({', '.join(self.key)}) IN "
            f"(SELECT {', '.join(f'i.{name}' for name in self.key)} FROM {ids} i "
            "JOIN unnest($1::text[], $2::text[]) AS k (pbx, id) ON i.pbx = k.pbx AND i.id = k.id)"
        )
        saved = f"{self.name} t"
        if model.machine is not None and not model.is_state:
            saved += f" WHERE {model.end_column} IS NULL"
        self.save = (
            "INSERT INTO ledger.saved_rows (model, version, changed, part, rows) "
            "SELECT $1, $2, $3, n / $4::bigint, json_agg(r) "
            f"FROM (SELECT row_to_json(t) AS r, row_number() OVER () - 1 AS n FROM {saved}) AS t GROUP BY 4"
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
