"""The commands about read models: as-of, diff, rebuild."""

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.options import LEDGER, AsJson, SettingsFile, app, failure, load_settings, open_database

if TYPE_CHECKING:
    from projections.engine.model import ReadModel
    from services.replay.history import RowsAsOf

Pbx = Annotated[str | None, typer.Option(metavar="NAME", help="Only rows of this PBX.")]
INSTANT = "A log position, or a time such as 2026-11-23T14:03:00Z."
MODEL = "A read model: channels, queues, agents, ..."


@app.command("as-of", rich_help_panel=LEDGER)
def as_of(
    instant: Annotated[str, typer.Argument(metavar="TIME|POSITION", help=INSTANT)],
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    *,
    pbx: Pbx = None,
    as_json: AsJson = False,
    file: SettingsFile = None,
) -> None:
    """Show a read model's rows as of a position, or as of a time with all events received by then.

    Requires the database only. Without a terminal, each row is one line with columns separated by tabs.
    """
    from services.replay.history_report import print_rows, rows_json

    (rows,) = _query(file, (instant,), model, pbx)
    if as_json:
        typer.echo(rows_json(rows))
    else:
        print_rows(rows)


@app.command(rich_help_panel=LEDGER)
def diff(
    before: Annotated[str, typer.Argument(metavar="FROM", help=INSTANT)],
    after: Annotated[str, typer.Argument(metavar="TO", help=INSTANT)],
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    *,
    pbx: Pbx = None,
    as_json: AsJson = False,
    file: SettingsFile = None,
) -> None:
    """Show the rows of a read model that were added (+), removed (-) or changed (~) between two instants."""
    from services.replay.history import compare
    from services.replay.history_report import changes_json, print_changes

    old, new = _query(file, (before, after), model, pbx)
    if as_json:
        typer.echo(changes_json(compare(old, new)))
    else:
        print_changes(old, new)


def _query(file: Path | None, instants: tuple[str, ...], model: str, pbx: str | None) -> "list[RowsAsOf]":
    from services.replay.history import HistoryError, HistoryQuery, query_history

    try:
        with open_database(load_settings(file)) as url:
            return asyncio.run(query_history(url, HistoryQuery(instants, model, pbx)))
    except HistoryError as error:
        raise failure(error, error.code) from None


@app.command(rich_help_panel=LEDGER)
def rebuild(
    models: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="Read models; default: all.")] = None,
    to: Annotated[int | None, typer.Option(min=1, metavar="POSITION", help="Fold the log only until here.")] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Only show the rows that a rebuild would change.")] = False,  # noqa: FBT002
    file: SettingsFile = None,
) -> None:
    """Rebuild read models from the log, and swap them in when they have caught up.

    Views stay available. If `up` runs, its projector does the work. Ctrl-C does not cancel the rebuild.
    """
    from services.projector.rebuild.rebuild import RebuildError, models_named

    try:
        selected = models_named(models or [])
        if diff and to:
            raise failure("--diff compares at the served position, so --to cannot be given")
        with open_database(load_settings(file)) as url:
            code = _print_differences(url, selected) if diff else _rebuild(url, selected, to)
    except RebuildError as error:
        raise failure(error, error.code) from None
    raise typer.Exit(code)


def _rebuild(url: str, models: "Sequence[ReadModel]", until: int | None) -> int:
    from services.projector.rebuild.rebuild import RebuildResult
    from services.projector.rebuild.rebuild import rebuild as run_rebuild
    from services.runtime import process

    results: list[RebuildResult] = []

    async def main(stop: asyncio.Event) -> None:
        results.append(await run_rebuild(url, models, until, stop))

    process.run("rebuild", main, level=logging.CRITICAL)
    (result,) = results
    for line in result.done:
        typer.echo(line)
    for line in result.failed:
        typer.echo(f"ringledger: {line}", err=True)
    return result.code


def _print_differences(url: str, models: "Sequence[ReadModel]") -> int:
    from rich.console import Console

    from services.projector.rebuild.diff import differences
    from services.projector.rebuild.report import lines, table

    compared = asyncio.run(differences(url, models))
    console = Console(width=None if sys.stdout.isatty() else 160)
    if (rows := table(compared)) is not None:
        console.print(rows)
    for line in lines(compared):
        typer.echo(line)
    return 1 if any(model.differs for model in compared) else 0
