"""The command ``ringledger``."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from schemas.settings import Settings
from services.settings import SettingsError, load

app = typer.Typer(
    help="Ringledger: everything your Asterisk says, in a ledger; the documented views of it over HTTP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

File = Annotated[Path | None, typer.Option("--settings", help="TOML file; RINGLEDGER_... variables win over it.")]


def _settings(file: Path | None) -> Settings:
    try:
        return load(os.environ, file)
    except SettingsError as error:
        typer.echo(f"ringledger: {error}", err=True)
        raise typer.Exit(2) from None


def main() -> None:
    """Run the command line."""
    app()


@app.command()
def listen(file: File = None) -> None:
    """Listen to every PBX of RINGLEDGER_AMI and append what it says to the log."""
    from services import run
    from services.listen import listen as body

    settings = _settings(file)
    run.run("listen", lambda stop: body(settings, settings.database_url, stop))


@app.command()
def project(file: File = None) -> None:
    """Fold the log into the read models."""
    from services import run
    from services.project import project as body

    settings = _settings(file)
    run.run("project", lambda stop: body(settings.database_url, stop))


@app.command()
def serve(file: File = None) -> None:
    """Serve the documented views over HTTP."""
    _settings(file)
    os.execv(sys.executable, [sys.executable, "-m", "api.serve", *([str(file)] if file else [])])  # noqa: S606


@app.command()
def migrate(file: File = None) -> None:
    """Bring the database's schema up to date."""
    from services import database

    async def body(url: str) -> None:
        connection = await database.connect(url)
        for name in await database.migrate(connection):
            typer.echo(name)
        await connection.close()

    asyncio.run(body(_settings(file).database_url))
