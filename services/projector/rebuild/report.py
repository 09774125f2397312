"""The report of ``ringledger rebuild --diff``: a table of the rows that differ, lines about models, and a verdict."""

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.table import Table

from services.projector.rebuild.diff import Comparison, RowDifference

MAX_WIDTH = 60


def table(comparisons: Sequence[Comparison]) -> Table | None:
    """Return a table of the rows that differ, None when there are none."""
    report = Table("model", "key", "column", "served", "rebuilt")
    for compared in comparisons:
        name = compared.name
        for row in compared.shown:
            key = " ".join(map(_cell_text, compared.table.key, row.key))
            for column, served, rebuilt in _cells(row):
                report.add_row(name, key, column, served, rebuilt)
        if compared.differing > len(compared.shown):
            report.add_row(name, f"... and {compared.differing - len(compared.shown):,} rows more")
    return report if report.rows else None


def _cells(row: RowDifference) -> list[tuple[str, str, str]]:
    if row.served is None:
        return [("", "no such row", "a row")]
    if row.rebuilt is None:
        return [("", "a row", "no such row")]
    both = [(column, value, row.rebuilt[column]) for column, value in row.served.items()]
    return [(column, _cell_text(column, a), _cell_text(column, b)) for column, a, b in both if a != b]


def _cell_text(column: str, value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    width = 8 if column.endswith("_hash") else MAX_WIDTH
    return text if len(text) <= width else text[: width - 1] + "…"


def lines(comparisons: Sequence[Comparison]) -> list[str]:
    """Return a line for each model that stopped or has other columns or versions, and a line with the verdict."""
    lines_of_models = []
    for compared in comparisons:
        name = compared.name
        is_model = name == compared.model.name
        if compared.stopped and is_model:
            lines_of_models.append(f"{name}: the present code stops at {compared.stopped}")
        if compared.removed or compared.added:
            removed, added = (", ".join(c) or "none" for c in (compared.removed, compared.added))
            lines_of_models.append(f"{name}: columns removed: {removed}; added: {added}")
        if compared.version != compared.model.version and is_model:
            lines_of_models.append(
                f"{name}: version {compared.version} is served, version {compared.model.version} was folded"
            )
    positions = sorted({compared.position for compared in comparisons})
    at = f"position {positions[0]}" if len(positions) == 1 else f"positions {positions[0]} to {positions[-1]}"
    models = list(dict.fromkeys(c.model.name for c in comparisons))
    names = f"{len(models)} read models" if len(models) > 3 else ", ".join(models)
    each = ", ".join(f"{c.name} {c.differing:,}" for c in comparisons if c.differing)
    if each:
        verdict = f"{sum(c.differing for c in comparisons):,} rows differ ({each})"
    else:
        verdict = "models differ" if any(c.differs for c in comparisons) else "nothing differs"
    return [*lines_of_models, f"compared {names}, {sum(c.rows for c in comparisons):,} rows, at {at}: {verdict}"]
