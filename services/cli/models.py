"""The commands about read models: rebuild, as-of, diff."""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from services.cli.options import LEDGER, File, app, database_held, refuse, settings_of

if TYPE_CHECKING:
    from projections.engine.model import ReadModel

T = TypeVar("T")

Pbx = Annotated[str | None, typer.Option(metavar="NAME", help="Rows of this PBX only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
INSTANT = "A log position, or a time as 2026-11-23T14:03:00Z."


@app.command("as-of", rich_help_panel=LEDGER)
def as_of(
    instant: Annotated[str, typer.Argument(metavar="TIME|POSITION", help=INSTANT)],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A read model: channels, queues, agents, ...")],
    *,
    pbx: Pbx = None,
    as_json: AsJson = False,
    file: File = None,
) -> None:
    """Show a read model's rows as they were: at a position, or when all was known that had been heard by a time.

    It needs the database alone. Without a terminal it writes a line for each row, columns separated by tabs.
    """
    from services.replay import history_report as history_text
    from services.replay.history import Question, found

    (then,) = _asked(file, lambda url: found(url, Question((instant,), model, pbx)))
    if as_json:
        typer.echo(history_text.rows_json(then))
    else:
        history_text.show_rows(then)


@app.command(rich_help_panel=LEDGER)
def diff(
    before: Annotated[str, typer.Argument(metavar="FROM", help=INSTANT)],
    after: Annotated[str, typer.Argument(metavar="TO", help=INSTANT)],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A read model: channels, queues, agents, ...")],
    *,
    pbx: Pbx = None,
    as_json: AsJson = False,
    file: File = None,
) -> None:
    """Show which rows of a read model came (+), went (-) or changed (~) between two instants."""
    from services.replay import history_report as history_text
    from services.replay.history import Question, differences, found

    old, new = _asked(file, lambda url: found(url, Question((before, after), model, pbx)))
    if as_json:
        typer.echo(history_text.differences_json(differences(old, new)))
    else:
        history_text.show_differences(old, new)


def _asked(file: Path | None, question: Callable[[str], Coroutine[None, None, T]]) -> T:
    from services.replay.history import HistoryError

    try:
        with database_held(settings_of(file)) as url:
            return asyncio.run(question(url))
    except HistoryError as error:
        raise refuse(error, error.code) from None


@app.command(rich_help_panel=LEDGER)
def rebuild(
    models: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="Which; all without.")] = None,
    to: Annotated[int | None, typer.Option(min=1, metavar="POSITION", help="Fold the log up to here only.")] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Only show which rows would be others.")] = False,  # noqa: FBT002
    file: File = None,
) -> None:
    """Fold read models anew from the log, and swap them in for those that are served when they have caught up.

    Views are served all the time. `up` may run: then its projector does the work. Ctrl-C leaves it to go on.
    """
    from services.projector.rebuild import RebuildError, models_named

    try:
        wanted = models_named(models or [])
        if diff and to:
            raise refuse("--diff compares at the position where a model is served, not --to another")
        with database_held(settings_of(file)) as url:
            code = _differences(url, wanted) if diff else _rebuilt(url, wanted, to)
    except RebuildError as error:
        raise refuse(error, error.code) from None
    raise typer.Exit(code)


def _rebuilt(url: str, models: "Sequence[ReadModel]", upto: int | None) -> int:
    from services.projector.rebuild import Outcome
    from services.projector.rebuild import rebuild as body
    from services.runtime.process import run

    outcomes: list[Outcome] = []

    async def main(stop: asyncio.Event) -> None:
        outcomes.append(await body(url, models, upto, stop))

    run("rebuild", main, level=logging.CRITICAL)
    (outcome,) = outcomes
    for line in outcome.done:
        typer.echo(line)
    for line in outcome.failed:
        typer.echo(f"ringledger: {line}", err=True)
    return outcome.code


def _differences(url: str, models: "Sequence[ReadModel]") -> int:
    from rich.console import Console

    from services.projector.rebuild_diff import differences, lines, table

    found = asyncio.run(differences(url, models))
    console = Console(width=None if sys.stdout.isatty() else 160)
    if (shown := table(found)) is not None:
        console.print(shown)
    for line in lines(found):
        typer.echo(line)
    return 1 if any(compared.differs for compared in found) else 0
