"""What every command of the command line has: settings, the database, and how it refuses."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from schemas.settings import Settings
from services.runtime.masking.text import mask_text
from services.runtime.settings import VARIABLES, SettingsError, load_settings

app = typer.Typer(
    help="Everything your Asterisk says, in an append-only ledger, and the documented views of it over HTTP."
    "\n\nStart with `ringledger up`: it needs nothing, and plays a recording until you set RINGLEDGER_AMI.",
    epilog="Settings, from the environment or a TOML file (--settings; keys in lower case, without prefix):\n\n"
    + "\n\n".join(f"`RINGLEDGER_{name}`  {meaning}" for name, meaning in VARIABLES.items()),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


ALL_IN_ONE = "Everything in one"
ONE_EACH = "One process each, with RINGLEDGER_DATABASE_URL"
LEDGER = "The ledger"

File = Annotated[
    Path | None, typer.Option("--settings", metavar="FILE", help="TOML file; RINGLEDGER_... variables win over it.")
]


def refuse(message: object, code: int = 2) -> typer.Exit:
    """Say in one line why not; raise what is returned."""
    typer.echo(f"ringledger: {mask_text(str(message))}", err=True)
    return typer.Exit(code)


def settings_of(file: Path | None) -> Settings:
    """Return the settings. Raises typer.Exit(2) when they cannot be used."""
    try:
        return load_settings(os.environ, file)
    except SettingsError as error:
        raise refuse(error) from None


def with_database(file: Path | None) -> Settings:
    """Return settings whose database is there: the user's, or the embedded one of an `up` on the same data.

    Raises typer.Exit(2) when there is none, or when it is of a newer Ringledger.
    """
    settings = settings_of(file)
    if settings.database_url:
        _compatible(settings.database_url)
        return settings
    from services.database.embedded import Embedded

    embedded = Embedded(settings.data)
    if not embedded.is_alive:
        raise refuse(f"no RINGLEDGER_DATABASE_URL, and no `ringledger up` runs on {settings.data.absolute()}")
    _compatible(embedded.url)
    return replace(settings, database_url=embedded.url)


@contextlib.contextmanager
def database_held(settings: Settings, *, create: bool = False, fault: int = 2) -> Iterator[str]:
    """Give the database's URL; start the embedded one for the duration if it does not run, and make it if told to.

    What PostgreSQL refuses within becomes one line and the exit code ``fault``.
    """
    if settings.database_url:
        with _explained(fault):
            _compatible(settings.database_url)
            yield settings.database_url
        return
    from services.database.cluster import EmbeddedError
    from services.database.embedded import Embedded

    embedded = Embedded(settings.data)
    if not (embedded.exists or create):
        raise refuse(f"there is no ledger in {settings.data.absolute()}, and no RINGLEDGER_DATABASE_URL")
    try:
        with embedded.running() as url, _explained(fault):
            _compatible(url)
            yield url
    except EmbeddedError as error:
        raise refuse(error, 1) from None


@contextlib.contextmanager
def _explained(code: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        from services.database.errors import explain, is_from_postgresql

        if not is_from_postgresql(error):
            raise
        raise refuse(explain(error), code) from None


def _compatible(url: str) -> None:
    from services.database import compatible

    try:
        asyncio.run(compatible.check_at(url))
    except compatible.IncompatibleError as error:
        raise refuse(error) from None
