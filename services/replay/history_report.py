"""Prints rows of the past: a table on a terminal, otherwise one line per row, or JSON. Secrets are masked."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

from schemas.secrets import MASK, is_secret
from services.log.times import rfc3339
from services.replay.history import RowChanges, RowsAsOf, changed_columns, compare
from services.replay.instants import Instant
from services.runtime.masking.application import mask_application_data

SIGNS = {"+": "green", "-": "red", "~": "yellow"}

ChangeLine = tuple[str, str, list[str]]
"""A sign, the key of the row, and its columns."""


def masked_columns(row: Any) -> dict[str, Any]:
    """Return the row's columns with masked secrets."""
    columns = {column: _masked(column, getattr(row, column)) for column in row.__struct_fields__}
    for application, data in (("application", "application_data"), ("last_application", "last_data")):
        if columns.get(data):
            columns[data] = mask_application_data(columns[application], columns[data])
    return columns


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(key, inner) for key, inner in value.items()}
    return MASK if value and isinstance(value, str) and is_secret(name) else value


def printable(value: Any) -> str:
    """Return a value as one line without control characters, which a terminal would interpret."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        value = rfc3339(value)
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def instant_text(instant: Instant) -> str:
    """Return the position and time of an instant."""
    return f"position {instant.position}, {printable(instant.at)}"


def rows_json(result: RowsAsOf) -> str:
    """Return the rows as a JSON array, one row per line."""
    lines = [msgspec.json.encode(masked_columns(row)).decode() for row in result.rows]
    return "[" + ",".join(f"\n{line}" for line in lines) + ("\n]" if lines else "]")


def rows_lines(result: RowsAsOf) -> list[str]:
    """Return one line of column names and one line per row, with columns separated by tabs."""
    rows = [[printable(value) for value in masked_columns(row).values()] for row in result.rows]
    return ["\t".join(line) for line in [list(result.table.columns), *rows]]


def rows_table(result: RowsAsOf, console: Console) -> RichTable:
    """Return the rows as a table without columns that are always empty; transposed if it is wider than the console."""
    rows = [{column: printable(value) for column, value in masked_columns(row).items()} for row in result.rows]
    columns = [c for c in result.table.columns if any(row[c] for row in rows)] if rows else list(result.table.columns)
    table = RichTable(*columns)
    for row in rows:
        table.add_row(*(Text(row[c]) for c in columns))
    if console.measure(table, options=console.options.update(width=100_000)).maximum <= console.width:
        return table
    transposed = RichTable("column", Column("value", overflow="fold"))
    for row in rows:
        for column in columns:
            if row[column]:
                transposed.add_row(column, Text(row[column]))
        transposed.add_section()
    return transposed


def change_lines(result: RowsAsOf, changes: RowChanges) -> list[ChangeLine]:
    """Return a line for each added, removed and changed row."""
    key = result.table.key
    rest = [column for column in result.table.columns if column not in {*key, "tm_update"}]

    def key_text(row: Any) -> str:
        values = masked_columns(row)
        return " ".join(printable(values[column]) for column in key)

    def all_columns(row: Any) -> list[str]:
        values = {column: printable(value) for column, value in masked_columns(row).items()}
        return [f"{column}={values[column]}" for column in rest if values[column]]

    def changed(before: Any, after: Any) -> list[str]:
        old, new = masked_columns(before), masked_columns(after)
        return [line for c in changed_columns(before, after, rest) for line in _column_changes(c, old[c], new[c])]

    return [
        *(("+", key_text(row), all_columns(row)) for row in changes.added),
        *(("-", key_text(row), all_columns(row)) for row in changes.removed),
        *(("~", key_text(after), changed(before, after)) for before, after in changes.changed),
    ]


def _column_changes(name: str, old: Any, new: Any) -> list[str]:
    """Return the change of a column; for a map, only its members that changed."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            f"{name}.{printable(key)}: {printable(old.get(key))} -> {printable(new.get(key))}"
            for key in dict.fromkeys((*old, *new))
            if old.get(key) != new.get(key)
        ]
    return [f"{name}: {printable(old)} -> {printable(new)}"]


def changes_table(lines: Sequence[ChangeLine]) -> RichTable:
    """Return the change lines as a table."""
    table = RichTable("", Column("key", overflow="fold"), Column("columns", overflow="fold"), show_lines=True)
    for sign, key, columns in lines:
        table.add_row(Text(sign, SIGNS[sign]), Text(key), Text("\n".join(columns)))
    return table


def changes_json(changes: RowChanges) -> str:
    """Return the changes as one JSON object."""
    return msgspec.json.encode(
        {
            "came": [masked_columns(row) for row in changes.added],
            "went": [masked_columns(row) for row in changes.removed],
            "changed": [{"before": masked_columns(a), "after": masked_columns(b)} for a, b in changes.changed],
        }
    ).decode()


def print_rows(result: RowsAsOf) -> None:
    """Print the rows, and a summary on standard error."""
    console, summary = Console(), Console(stderr=True, soft_wrap=True, highlight=False)
    if console.is_terminal:
        console.print(rows_table(result, console))
    else:
        typer.echo("\n".join(rows_lines(result)))
    count = len(result.rows)
    rows = f"{count:,} row" if count == 1 else f"{count:,} rows"
    summary.print(Text(f"{result.table.name} as of {instant_text(result.instant)}: {rows}"))


def print_changes(before: RowsAsOf, after: RowsAsOf) -> None:
    """Print the changes, and their number on standard error."""
    console, summary = Console(), Console(stderr=True, soft_wrap=True, highlight=False)
    changes = compare(before, after)
    lines = change_lines(after, changes)
    if not console.is_terminal:
        for sign, key, columns in lines:
            typer.echo("\t".join((sign, key, *columns)))
    elif lines:
        console.print(changes_table(lines))
    counts = f"{len(changes.added)} added, {len(changes.removed)} removed, {len(changes.changed)} changed"
    span = f"from {instant_text(before.instant)} to {instant_text(after.instant)}"
    summary.print(Text(f"{after.table.name} {span}: {counts}"))
