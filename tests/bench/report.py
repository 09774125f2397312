"""The result of the bench: figures, some with a target, as one table."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured number; ``target`` is the lower limit, or the upper one with ``at_most``."""

    part: str
    what: str
    value: float
    unit: str = ""
    target: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target


def written(value: float) -> str:
    """Write a number with the digits that mean something."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def show(figures: list[Figure], machine: str) -> None:
    """Print the table."""
    table = Table(title=f"Ringledger bench on {machine}")
    for heading in ("part", "what", "value", "target", ""):
        table.add_column(heading, justify="right" if heading in {"value", "target"} else "left", overflow="fold")
    last = ""
    for figure in figures:
        if last and figure.part != last:
            table.add_section()
        target = ""
        if figure.target is not None:
            target = f"{'<=' if figure.at_most else '>='} {written(figure.target)}"
        verdict = {True: "[green]met[/]", False: "[bold red]missed[/]", None: ""}[figure.met]
        table.add_row(
            figure.part if figure.part != last else "",
            figure.what,
            f"{written(figure.value)} {figure.unit}".rstrip(),
            target,
            verdict,
        )
        last = figure.part
    missed = [f for f in figures if f.met is False]
    aimed = [f for f in figures if f.met is not None]
    console = Console(width=None if Console().is_terminal else 110)
    console.print(table)
    console.print(f"{len(aimed) - len(missed)} of {len(aimed)} targets met")
