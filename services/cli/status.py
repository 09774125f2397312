"""The command status."""

import asyncio

import typer

from services.cli.options import LEDGER, AsJson, SettingsFile, app, failure, load_settings, open_database


@app.command(rich_help_panel=LEDGER)
def status(*, as_json: AsJson = False, file: SettingsFile = None) -> None:
    """Show links, refused lists, gaps, models and spools, from the database alone. It works while `up` runs.

    Exit code 0: no faults. Exit code 1: faults, one line each.
    """
    import msgspec

    from services.cli.status_report import read_status
    from services.database.errors import NoLedgerError
    from services.replay.history_report import printable

    settings = load_settings(file)
    try:
        with open_database(settings, fault=1) as url:
            report = asyncio.run(read_status(url, {pbx.name: pbx.user for pbx in settings.ami}))
    except NoLedgerError as error:
        raise failure(error, 1) from None
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        for line in report.lines:
            typer.echo(printable(line))
        for fault in report.faults:
            typer.echo(f"fault: {printable(fault)}")
        typer.echo("no faults" if not report.faults else f"{len(report.faults)} faults")
    raise typer.Exit(1 if report.faults else 0)
