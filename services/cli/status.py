"""The command status."""

import asyncio
from typing import Annotated

import typer

from services.cli.options import LEDGER, File, app, database_held, refuse, settings_of


@app.command(rich_help_panel=LEDGER)
def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    file: File = None,
) -> None:
    """Show links, refused lists, gaps, models and spools, from the database alone; `up` may run.

    Exit code 0 when nothing is wrong; 1 otherwise, and a line for each fault.
    """
    import msgspec

    from services.cli.status_report import NoLedgerError
    from services.cli.status_report import status as body
    from services.replay.history_report import written

    settings = settings_of(file)
    try:
        with database_held(settings, fault=1) as url:
            found = asyncio.run(body(url, {pbx.name: pbx.user for pbx in settings.ami}))
    except NoLedgerError as error:
        raise refuse(error, 1) from None
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        for line in found.lines:
            typer.echo(written(line))
        for fault in found.faults:
            typer.echo(f"fault: {written(fault)}")
        typer.echo("all is well" if not found.faults else f"{len(found.faults)} faults")
    raise typer.Exit(1 if found.faults else 0)
