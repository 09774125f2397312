"""The command ``ringledger``."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from schemas.settings import Settings
from services.settings import VARIABLES, SettingsError, load

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
Speed = Annotated[
    float, typer.Option(min=0.01, max=1000, metavar="N", help="Play the recording N times as fast as it was.")
]


def _refuse(message: object, code: int = 2) -> typer.Exit:
    typer.echo(f"ringledger: {message}", err=True)
    return typer.Exit(code)


def _settings(file: Path | None) -> Settings:
    try:
        return load(os.environ, file)
    except SettingsError as error:
        raise _refuse(error) from None


def _with_database(file: Path | None) -> Settings:
    """Return settings whose database is there: the user's, or the embedded one of an `up` on the same data."""
    settings = _settings(file)
    if settings.database_url:
        return settings
    from services.embedded import Embedded

    embedded = Embedded(settings.data)
    if not embedded.alive:
        raise _refuse(f"no RINGLEDGER_DATABASE_URL, and no `ringledger up` runs on {settings.data.absolute()}")
    return replace(settings, database_url=embedded.url)


@contextlib.contextmanager
def _database_held(settings: Settings) -> Iterator[str]:
    """Give the database's URL; start the embedded one for the duration if it does not run."""
    if settings.database_url:
        yield settings.database_url
        return
    from services.embedded import Embedded, EmbeddedError

    embedded = Embedded(settings.data)
    if not embedded.exists:
        raise _refuse(f"there is no ledger in {settings.data.absolute()}, and no RINGLEDGER_DATABASE_URL")
    try:
        with embedded.held() as url:
            yield url
    except EmbeddedError as error:
        raise _refuse(error, 1) from None


def main() -> None:
    """Run the command line."""
    app()


@app.command(rich_help_panel=ALL_IN_ONE)
def up(file: File = None, speed: Speed = 1.0) -> None:
    """Run everything on this machine: PostgreSQL, listener, projector and API.

    Without RINGLEDGER_AMI it plays a recording of a real Asterisk 22. Without RINGLEDGER_DATABASE_URL it runs a
    PostgreSQL of its own in RINGLEDGER_DATA. Ctrl-C or SIGTERM stops all of it.
    """
    from services import run
    from services.embedded import EmbeddedError
    from services.up import STOP_SECONDS, UpError
    from services.up import up as body

    settings = _settings(file)
    if speed != 1 and settings.ami:
        raise _refuse("--speed is for the recording, which is not played when RINGLEDGER_AMI is set")
    try:
        run.run("up", lambda stop: body(settings, file, speed, stop), grace=STOP_SECONDS)
    except UpError as error:
        raise _refuse(error) from None
    except (EmbeddedError, OSError) as error:
        raise _refuse(error, 1) from None


@app.command(rich_help_panel=ALL_IN_ONE)
def demo(
    address: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where to speak AMI.")
    ] = "127.0.0.1:5038",
    speed: Speed = 1.0,
    fd: Annotated[int, typer.Option("--socket", hidden=True)] = -1,
) -> None:
    """Be a PBX that plays the recording, over AMI, for any client.

    It is what `up` listens to without RINGLEDGER_AMI. User `ringledger`, secret `recording`.
    """
    from services import run
    from services.playback.server import play

    host, _, port = address.rpartition(":")
    try:
        listening = socket.socket(fileno=fd) if fd >= 0 else socket.create_server((host, int(port)))
    except (OSError, ValueError, OverflowError) as error:
        raise _refuse(f"--listen {address}: {error}") from None
    run.run("demo", lambda stop: play(listening, speed, stop))


@app.command("listen", rich_help_panel=ONE_EACH)
def listen_(file: File = None) -> None:
    """Listen to every PBX of RINGLEDGER_AMI and RINGLEDGER_ARI, and append what they say to the log."""
    from services import listen, run

    settings = _with_database(file)
    run.run("listen", lambda stop: listen.listen(settings, settings.database_url, stop))


@app.command(rich_help_panel=ONE_EACH)
def project(file: File = None) -> None:
    """Fold the log into the read models."""
    from services import run
    from services.project import project as body

    settings = _with_database(file)
    os.nice(5)  # folding can wait, and catches up; what the listener does not read is gone for ever
    run.run("project", lambda stop: body(settings.database_url, stop))


@app.command(rich_help_panel=ONE_EACH)
def serve(file: File = None) -> None:
    """Serve the documented views over HTTP at RINGLEDGER_HTTP."""
    os.environ["RINGLEDGER_DATABASE_URL"] = _with_database(file).database_url
    arguments = [sys.executable, "-P", "-m", "api.serve", *([str(file)] if file else [])]
    os.execv(sys.executable, arguments)  # noqa: S606


@app.command(rich_help_panel=LEDGER)
def migrate(file: File = None) -> None:
    """Bring the database's schema up to date (`up` does it by itself)."""
    from services import database

    async def body(url: str) -> None:
        connection = await database.connect(url)
        try:
            applied = await database.migrate(connection)
        finally:
            await connection.close()
        typer.echo("\n".join(applied) or "nothing to do")

    with _database_held(_settings(file)) as url:
        asyncio.run(body(url))


@app.command(rich_help_panel=LEDGER)
def export(
    pbx: Annotated[str, typer.Option(metavar="NAME", help="The PBX, by its name in the ledger.")],
    ami: Annotated[bool, typer.Option("--ami", help="The AMI event blocks, exactly as they were received.")] = False,  # noqa: FBT002
    file: File = None,
) -> None:
    """Write a PBX's AMI events to standard output, byte for byte as received; `up` may run."""
    from services.export import UnknownPbxError
    from services.export import export as body

    if not ami:
        raise _refuse("export what? --ami is what there is")
    out = sys.stdout.buffer
    try:
        with _database_held(_settings(file)) as url:
            asyncio.run(body(url, pbx, out))
    except UnknownPbxError as error:
        raise _refuse(error) from None
    except BrokenPipeError:
        # Whoever read has had enough; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None


@app.command(rich_help_panel=LEDGER)
def redact(
    *,
    number: Annotated[str | None, typer.Option(metavar="N", help="A telephone number; - reads it from stdin.")] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="A name, or - likewise.")] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept in the log.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say where it stands.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Take short ones, which may be anything.")] = False,
    file: File = None,
) -> None:
    """Erase a person: a number or a name becomes a token in the log and in all views; `up` may run.

    The chain over the log still holds: an event says which events were changed, and `ringledger verify` lists it. A
    number stands there as a whole, not within a longer one, nor in a unique id or a time. What cannot be reached
    (backups, exports, spools) is in docs/architecture.md.
    """
    from services import run
    from services.forget import UnfinishedError
    from services.redact import RedactError, told
    from services.redact import redact as body
    from services.redaction_key import KeyFileError, read_key, token
    from services.wanted import WantedError, wanted

    try:
        found = wanted(
            *(sys.stdin.readline().strip() if given == "-" else given for given in (number, text)), force=force
        )
    except WantedError as error:
        raise _refuse(error) from None
    settings = _settings(file)
    run.configure_logging("redact")
    os.nice(5)
    try:
        with _database_held(settings) as url:
            name = "a token" if dry_run else token(read_key(settings.data), found.kind, found.text)
            done = asyncio.run(body(url, found, name, reason, dry_run=dry_run))
    except (RedactError, KeyFileError) as error:
        raise _refuse(error) from None
    except UnfinishedError as error:
        raise _refuse(error, 1) from None
    typer.echo(told(done, dry_run=dry_run))


if __name__ == "__main__":
    main()
