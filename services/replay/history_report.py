"""How rows of the past are written: a table on a terminal, else a line for each row, or JSON. Secrets are masked."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Column
from rich.table import Table as Shown
from rich.text import Text

from schemas.secrets import MASK, is_secret
from services.log.times import rfc3339
from services.replay.history import Differences, Found, changes, differences
from services.replay.instants import Instant
from services.runtime.masking.application import mask_application_data

SIGNS = {"+": "green", "-": "red", "~": "yellow"}

Line = tuple[str, str, list[str]]
"""What became of a row (a sign), its key, and its columns."""


def shown(row: Any) -> dict[str, Any]:
    """Return the row's columns as they may be shown."""
    columns = {column: _masked(column, getattr(row, column)) for column in row.__struct_fields__}
    for application, data in (("application", "application_data"), ("last_application", "last_data")):
        if columns.get(data):
            columns[data] = mask_application_data(columns[application], columns[data])
    return columns


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(key, inner) for key, inner in value.items()}
    return MASK if value and isinstance(value, str) and is_secret(name) else value


def written(value: Any) -> str:
    """Write one value on one line, without anything that a terminal would obey."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        value = rfc3339(value)
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def when(instant: Instant) -> str:
    """Name an instant."""
    return f"position {instant.position}, {written(instant.at)}"


def rows_json(found: Found) -> str:
    """Return the rows as a JSON array, each on a line of its own."""
    lines = [msgspec.json.encode(shown(row)).decode() for row in found.rows]
    return "[" + ",".join(f"\n{line}" for line in lines) + ("\n]" if lines else "]")


def rows_lines(found: Found) -> list[str]:
    """Return a line of column names and one for each row, their columns separated by tabs."""
    rows = [[written(value) for value in shown(row).values()] for row in found.rows]
    return ["\t".join(line) for line in [list(found.table.columns), *rows]]


def rows_table(found: Found, console: Console) -> Shown:
    """Return the rows as a table, without columns that are empty in all; on its side if it is too wide."""
    rows = [{column: written(value) for column, value in shown(row).items()} for row in found.rows]
    columns = [c for c in found.table.columns if any(row[c] for row in rows)] if rows else list(found.table.columns)
    table = Shown(*columns)
    for row in rows:
        table.add_row(*(Text(row[c]) for c in columns))
    if console.measure(table, options=console.options.update(width=100_000)).maximum <= console.width:
        return table
    on_side = Shown("column", Column("value", overflow="fold"))
    for row in rows:
        for column in columns:
            if row[column]:
                on_side.add_row(column, Text(row[column]))
        on_side.add_section()
    return on_side


def difference_lines(found: Found, differences: Differences) -> list[Line]:
    """Say what became of each row."""
    key = found.table.key
    rest = [column for column in found.table.columns if column not in {*key, "tm_update"}]

    def named(row: Any) -> str:
        values = shown(row)
        return " ".join(written(values[column]) for column in key)

    def whole(row: Any) -> list[str]:
        values = {column: written(value) for column, value in shown(row).items()}
        return [f"{column}={values[column]}" for column in rest if values[column]]

    def changed(before: Any, after: Any) -> list[str]:
        old, new = shown(before), shown(after)
        return [line for c in changes(before, after, rest) for line in _changed(c, old[c], new[c])]

    return [
        *(("+", named(row), whole(row)) for row in differences.came),
        *(("-", named(row), whole(row)) for row in differences.went),
        *(("~", named(after), changed(before, after)) for before, after in differences.changed),
    ]


def _changed(name: str, old: Any, new: Any) -> list[str]:
    """Say what changed; of a map only those of its values that did."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            f"{name}.{written(key)}: {written(old.get(key))} -> {written(new.get(key))}"
            for key in dict.fromkeys((*old, *new))
            if old.get(key) != new.get(key)
        ]
    return [f"{name}: {written(old)} -> {written(new)}"]


def differences_table(lines: Sequence[Line]) -> Shown:
    """Return what became of each row as a table."""
    table = Shown("", Column("key", overflow="fold"), Column("columns", overflow="fold"), show_lines=True)
    for sign, key, columns in lines:
        table.add_row(Text(sign, SIGNS[sign]), Text(key), Text("\n".join(columns)))
    return table


def differences_json(differences: Differences) -> str:
    """Return what became of each row as one JSON object."""
    return msgspec.json.encode(
        {
            "came": [shown(row) for row in differences.came],
            "went": [shown(row) for row in differences.went],
            "changed": [{"before": shown(a), "after": shown(b)} for a, b in differences.changed],
        }
    ).decode()


def show_rows(found: Found) -> None:
    """Print the rows, and on standard error what they are."""
    console, said = Console(), Console(stderr=True, soft_wrap=True, highlight=False)
    if console.is_terminal:
        console.print(rows_table(found, console))
    else:
        typer.echo("\n".join(rows_lines(found)))
    said.print(Text(f"{found.table.name} as of {when(found.instant)}: {_counted(len(found.rows), 'row')}"))


def show_differences(before: Found, after: Found) -> None:
    """Print what became of rows, and on standard error how many came, went and changed."""
    console, said = Console(), Console(stderr=True, soft_wrap=True, highlight=False)
    found = differences(before, after)
    lines = difference_lines(after, found)
    if not console.is_terminal:
        for sign, key, columns in lines:
            typer.echo("\t".join((sign, key, *columns)))
    elif lines:
        console.print(differences_table(lines))
    counts = f"{len(found.came)} came, {len(found.went)} went, {len(found.changed)} changed"
    span = f"from {when(before.instant)} to {when(after.instant)}"
    said.print(Text(f"{after.table.name} {span}: {counts}"))


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
