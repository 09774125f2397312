"""Shared parts of all commands: options, settings, the database, and error exits."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from schemas.settings import Settings
from services.runtime import settings as runtime_settings
from services.runtime.masking.text import mask_text
from services.runtime.settings import VARIABLES, SettingsError

app = typer.Typer(
    help="Records every event of your Asterisk in an append-only ledger, and serves the documented views over HTTP."
    "\n\nStart with `ringledger up`. It needs no settings, and plays a recording until you set RINGLEDGER_AMI.",
    epilog="Settings, from the environment or a TOML file (--settings; keys in lower case, without prefix):\n\n"
    + "\n\n".join(f"`RINGLEDGER_{name}`  {meaning}" for name, meaning in VARIABLES.items()),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


ALL_IN_ONE = "Everything in one process tree"
ONE_EACH = "Separate processes, with RINGLEDGER_DATABASE_URL"
LEDGER = "The ledger"

SettingsFile = Annotated[
    Path | None, typer.Option("--settings", metavar="FILE", help="TOML file; RINGLEDGER_... variables override it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def failure(message: object, code: int = 2) -> typer.Exit:
    """Print an error message, secrets masked, and return the exception to raise."""
    typer.echo(f"ringledger: {mask_text(str(message))}", err=True)
    return typer.Exit(code)


def load_settings(file: Path | None) -> Settings:
    """Return the settings. Raises typer.Exit(2) if they are invalid."""
    try:
        return runtime_settings.load_settings(os.environ, file)
    except SettingsError as error:
        raise failure(error) from None


def settings_with_database(file: Path | None) -> Settings:
    """Return settings with a database: the user's, or the embedded one of a running `up` on the same data.

    Raises typer.Exit(2) if there is none, or if a newer Ringledger has upgraded it.
    """
    settings = load_settings(file)
    if settings.database_url:
        _check_compatible(settings.database_url)
        return settings
    from services.database.embedded import Embedded

    embedded = Embedded(settings.data)
    if not embedded.is_alive:
        raise failure(f"RINGLEDGER_DATABASE_URL is not set, and no `ringledger up` runs on {settings.data.absolute()}")
    _check_compatible(embedded.url)
    return replace(settings, database_url=embedded.url)


@contextlib.contextmanager
def open_database(settings: Settings, *, create: bool = False, fault: int = 2) -> Iterator[str]:
    """Yield the database's URL. The embedded database runs at least for this block; ``create`` it if necessary.

    An error of PostgreSQL within the block becomes one line and the exit code ``fault``.
    """
    if settings.database_url:
        with _database_errors(fault):
            _check_compatible(settings.database_url)
            yield settings.database_url
        return
    from services.database.cluster import EmbeddedError
    from services.database.embedded import Embedded

    embedded = Embedded(settings.data)
    if not (embedded.exists or create):
        raise failure(f"{settings.data.absolute()} has no ledger, and RINGLEDGER_DATABASE_URL is not set")
    try:
        with embedded.running() as url, _database_errors(fault):
            _check_compatible(url)
            yield url
    except EmbeddedError as error:
        raise failure(error, 1) from None


@contextlib.contextmanager
def _database_errors(code: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        from services.database.errors import explain, is_from_postgresql

        if not is_from_postgresql(error):
            raise
        raise failure(explain(error), code) from None


def _check_compatible(url: str) -> None:
    from services.database import compatible

    try:
        asyncio.run(compatible.check_at(url))
    except compatible.IncompatibleError as error:
        raise failure(error) from None
