"""The command ``ringledger``."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from msgspec.structs import replace

from schemas.settings import Settings
from services.settings import VARIABLES, SettingsError, load

if TYPE_CHECKING:
    from projections.kit import Model

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

T = TypeVar("T")

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
def _database_held(settings: Settings, *, create: bool = False) -> Iterator[str]:
    """Give the database's URL; start the embedded one for the duration if it does not run, and make it if told to."""
    if settings.database_url:
        yield settings.database_url
        return
    from services.embedded import Embedded, EmbeddedError

    embedded = Embedded(settings.data)
    if not (embedded.exists or create):
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
def verify(
    anchor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check the signed heads in FILE too, and add this one.")
    ] = None,
    file: File = None,
) -> None:
    """Prove that the log is what was appended, from the database alone; `up` may run.

    Exit code 0 when it is, but for what was redacted, which is listed; 1, and a line that names the first event that is
    not, otherwise. Whoever can write the database could compute a new end of the log: keep an anchor where they cannot
    write, and that is found too.
    """
    from concurrent.futures import BrokenExecutor

    import asyncpg

    from services import database
    from services.anchor import AnchorError, anchored
    from services.audit import audit
    from services.damage import DamageError
    from services.redactions import RedactionError
    from services.verify import NoLedgerError

    settings = _settings(file)
    said = ""
    try:
        with _database_held(settings) as url:
            if anchor is None:
                verified = asyncio.run(audit(url))
            else:
                verified, said = asyncio.run(anchored(url, anchor, settings.data))
    except (AnchorError, NoLedgerError) as error:
        raise _refuse(error) from None
    except (DamageError, RedactionError) as error:
        typer.echo(error)
        raise typer.Exit(1) from None
    except (*database.UNREACHABLE, asyncpg.PostgresError, BrokenExecutor) as error:
        raise _refuse(f"the database cannot be read: {error}") from None
    typer.echo(
        f"honest: {verified.events} events in {verified.batches} batches up to position {verified.end.position},"
        f" hash {verified.end.hash.hex()}" + (f"; {said}" if said else "")
    )
    for redaction in verified.redactions:
        typer.echo(redaction.line())


@app.command(rich_help_panel=LEDGER)
def export(  # noqa: PLR0917 (typer gives them by name)
    pbx: Annotated[str, typer.Option(metavar="NAME", help="Only this PBX, by its name in the ledger.")] = "",
    since: Annotated[
        str, typer.Option("--from", metavar="POSITION|TIME", help="The first position, or from when.")
    ] = "",
    until: Annotated[
        str, typer.Option("--to", metavar="POSITION|TIME", help="The last position, or before when.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write whole batches to FILE, for `import`: *.jsonl.zst")
    ] = None,
    ami: Annotated[bool, typer.Option("--ami", help="The AMI event blocks, exactly as they were received.")] = False,  # noqa: FBT002
    file: File = None,
) -> None:
    """Write the ledger out, for `import` (--output), or a PBX's AMI events byte for byte (--ami); `up` may run."""
    from services.export import UnknownPbxError, bound
    from services.export import export as body
    from services.export_ledger import ExportError, export_ledger

    if ami == (output is not None):
        raise _refuse("export what? --output FILE for a file that `import` takes, or --ami to standard output")
    if ami and not pbx:
        raise _refuse("export --ami of which PBX? give --pbx NAME")
    try:
        begin, end = (bound(text) if text else None for text in (since, until))
    except ValueError as error:
        raise _refuse(error) from None
    try:
        with _database_held(_settings(file)) as url:
            if output is None:
                asyncio.run(body(url, pbx, sys.stdout.buffer, begin, end))
            else:
                written = asyncio.run(export_ledger(url, output, pbx or None, begin, end))
    except (UnknownPbxError, ExportError) as error:
        raise _refuse(error) from None
    except BrokenPipeError:
        # Whoever read has had enough; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except OSError as error:
        raise _refuse(error) from None
    if output is not None:
        where = f"positions {written.first} to {written.last}"
        typer.echo(f"{output}: {written.events} events in {written.batches} batches, {where}")


@app.command("import", rich_help_panel=LEDGER)
def import_(  # noqa: PLR0917 (typer gives them by name)
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", show_default=False)],
    ami: Annotated[bool, typer.Option("--ami", help="AMI event blocks, as `export --ami` writes them.")] = False,  # noqa: FBT002
    master_csv: Annotated[bool, typer.Option("--master-csv", help="Asterisk's Master.csv (cdr_csv).")] = False,  # noqa: FBT002
    cel_csv: Annotated[bool, typer.Option("--cel-csv", help="CEL's csv (cel_custom): event type, time, ...")] = False,  # noqa: FBT002
    queue_log: Annotated[bool, typer.Option("--queue-log", help="Asterisk's queue_log.")] = False,  # noqa: FBT002
    pbx: Annotated[str, typer.Option(metavar="NAME", help="The PBX that wrote these, by its name in the ledger.")] = "",
    timezone: Annotated[
        str,
        typer.Option(metavar="ZONE", help="Zone of local times: Europe/Berlin, UTC, +01:00. Default: the PBX's clock."),
    ] = "",
    file: File = None,
) -> None:
    """Take into the ledger what `export` wrote, or Asterisk itself; repeating it changes nothing.

    Every file is checked whole before anything is written. A ledger file of all PBXes that follows on what is here
    becomes a part of the same chain; the events of any other are appended. Of Asterisk's own files comes in what is
    from before the PBX was listened to.
    """
    from services import database, import_ledger, import_lines
    from services.ledger_file import LedgerFileError
    from services.lines import LinesError
    from services.zones import ZoneError

    options: dict[import_lines.AnyKind, bool]
    options = {"ami": ami, "cdr_csv": master_csv, "cel_csv": cel_csv, "queue_log": queue_log}
    kinds = [kind for kind, given in options.items() if given]
    if len(kinds) > 1:
        raise _refuse("one of --ami, --master-csv, --cel-csv and --queue-log at a time")
    if bool(kinds) != bool(pbx):
        raise _refuse("--pbx NAME goes with --ami, --master-csv, --cel-csv or --queue-log; a ledger file names its own")
    if timezone and kinds not in (["cdr_csv"], ["cel_csv"]):
        raise _refuse("--timezone goes with --master-csv or --cel-csv")

    async def say(done: AsyncIterator[str]) -> None:
        async for one in done:
            typer.echo(one)

    try:
        ledgers = [] if kinds else import_ledger.checked(files)
        contents = import_lines.checked(files, kinds[0]) if kinds else []
        with _database_held(_settings(file), create=True) as url:
            asyncio.run(
                say(
                    import_lines.import_lines(url, contents, pbx, timezone)
                    if kinds
                    else import_ledger.import_ledger(url, ledgers)
                )
            )
    except (LedgerFileError, LinesError, import_ledger.ImportRefusedError, ZoneError) as error:
        raise _refuse(error) from None
    except database.UNREACHABLE as error:
        raise _refuse(f"the database went away, so run it again to go on: {error}", 1) from None


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
    from services import history_text
    from services.history import Question, found

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
    from services import history_text
    from services.history import Question, differences, found

    old, new = _asked(file, lambda url: found(url, Question((before, after), model, pbx)))
    if as_json:
        typer.echo(history_text.differences_json(differences(old, new)))
    else:
        history_text.show_differences(old, new)


def _asked(file: Path | None, question: Callable[[str], Coroutine[None, None, T]]) -> T:
    from services.history import HistoryError

    try:
        with _database_held(_settings(file)) as url:
            return asyncio.run(question(url))
    except HistoryError as error:
        raise _refuse(error, error.code) from None


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
    from services.rebuild import RebuildError, chosen

    try:
        wanted = chosen(models or [])
        if diff and to:
            raise _refuse("--diff compares at the position where a model is served, not --to another")
        with _database_held(_settings(file)) as url:
            code = _differences(url, wanted) if diff else _rebuilt(url, wanted, to)
    except RebuildError as error:
        raise _refuse(error, error.code) from None
    raise typer.Exit(code)


def _rebuilt(url: str, models: "Sequence[Model]", upto: int | None) -> int:
    from services import run
    from services.rebuild import Outcome
    from services.rebuild import rebuild as body

    outcomes: list[Outcome] = []

    async def main(stop: asyncio.Event) -> None:
        outcomes.append(await body(url, models, upto, stop))

    run.run("rebuild", main, level=logging.CRITICAL)
    (outcome,) = outcomes
    for line in outcome.done:
        typer.echo(line)
    for line in outcome.failed:
        typer.echo(f"ringledger: {line}", err=True)
    return outcome.code


def _differences(url: str, models: "Sequence[Model]") -> int:
    from rich.console import Console

    from services.differences import differences, lines, table

    found = asyncio.run(differences(url, models))
    console = Console(width=None if sys.stdout.isatty() else 160)
    if (shown := table(found)) is not None:
        console.print(shown)
    for line in lines(found):
        typer.echo(line)
    return 1 if any(compared.differs for compared in found) else 0


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
