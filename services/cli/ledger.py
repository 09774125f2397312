"""The commands about the ledger itself: migrate, verify, archive, redact."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import LEDGER, File, app, database_held, refuse, settings_of


@app.command(rich_help_panel=LEDGER)
def migrate(file: File = None) -> None:
    """Bring the database's schema up to date (`up` does it by itself)."""
    from services.database import connection as database
    from services.database.migrate import migrate

    async def body(url: str) -> None:
        connection = await database.connect(url)
        try:
            applied = await migrate(connection)
        finally:
            await connection.close()
        typer.echo("\n".join(applied) or "nothing to do")

    with database_held(settings_of(file)) as url:
        asyncio.run(body(url))


@app.command(rich_help_panel=LEDGER)
def verify(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", show_default=False, help="Files of archived months.")
    ] = None,
    *,
    archive: Annotated[bool, typer.Option("--archive", help="Check these FILEs too.")] = False,
    anchor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check the signed heads in FILE too, and add this one.")
    ] = None,
    file: File = None,
) -> None:
    """Prove that the log is what was appended, from the database alone; `up` may run.

    Exit code 0 when it is, but for what was redacted, which is listed; 1, and a line that names the first event that is
    not, otherwise. Whoever can write the database could compute a new end of the log: keep an anchor where they cannot
    write, and that is found too. A log with archived months is proved from where it begins; with
    --archive and all their files from position 1 on.
    """
    from concurrent.futures import BrokenExecutor

    from services.integrity.anchors import AnchorError, anchored
    from services.integrity.archives import StrayFileError, told
    from services.integrity.chain_walk import NoLedgerError
    from services.integrity.damage import DamageError
    from services.integrity.verify import audit
    from services.log.redactions import RedactionError
    from services.transfer.ledger_file import LedgerFileError

    if archive != bool(files):
        raise refuse("verify --archive FILE...: the option goes with the files of archived months")
    if missing := [str(one) for one in files or [] if not one.is_file()]:
        raise refuse(f"{missing[0]} is no file")
    settings = settings_of(file)
    said = ""
    try:
        with database_held(settings) as url:
            if anchor is None:
                verified = asyncio.run(audit(url, files=files or ()))
            else:
                verified, said = asyncio.run(anchored(url, anchor, settings.data, files or ()))
    except (AnchorError, NoLedgerError, StrayFileError) as error:
        raise refuse(error) from None
    except (DamageError, LedgerFileError, RedactionError) as error:
        typer.echo(error)
        raise typer.Exit(1) from None
    except BrokenExecutor as error:
        raise refuse(f"the database cannot be read: {error}") from None
    typer.echo(
        f"honest: {verified.events} events in {verified.batches} batches up to position {verified.end.position},"
        f" hash {verified.end.hash.hex()}" + (f"; {said}" if said else "")
    )
    if verified.edge:
        typer.echo(told(verified.edge, verified.checked))
    for redaction in verified.redactions:
        typer.echo(redaction.line())


@app.command(rich_help_panel=LEDGER)
def archive(
    *,
    before: Annotated[str, typer.Option(metavar="MONTH", help="The first month to stay, as 2026-10.")],
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the files go; default: archive, in RINGLEDGER_DATA.")
    ] = None,
    drop: Annotated[
        bool, typer.Option("--drop", help="Drop the months' tables; without it they stay in schema archived.")
    ] = False,
    file: File = None,
) -> None:
    """Take old months out of the log, each into a file that `import` takes; `up` may run.

    What is served goes on from states kept where the log then begins, and the chain from there; `verify --archive`
    holds the files against it. What is asked of a time before is refused, naming the file. Broken off, it can be run
    again. The whole log comes back with `import` of all files, in order, into an empty database.
    """
    from services.retention import archive as body
    from services.retention.detach import ArchiveError

    try:
        month = body.month_of(before)
        settings = settings_of(file)
        with database_held(settings) as url:
            done = asyncio.run(body.archive(url, month, output or settings.data / "archive", drop=drop))
    except ArchiveError as error:
        raise refuse(error, error.code) from None
    for line in body.lines(done):
        typer.echo(line)


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
    (backups, exports, spools) is in docs/operate/redact.md.
    """
    from services.retention.redact import RedactError, told
    from services.retention.redact import redact as body
    from services.retention.redact_key import KeyFileError, read_key, token
    from services.retention.redact_models import UnfinishedError
    from services.retention.redact_pattern import WantedError, wanted
    from services.runtime.process import configure_logging

    try:
        found = wanted(
            *(sys.stdin.readline().strip() if given == "-" else given for given in (number, text)), force=force
        )
    except WantedError as error:
        raise refuse(error) from None
    settings = settings_of(file)
    configure_logging("redact")
    os.nice(5)
    try:
        with database_held(settings) as url:
            name = "a token" if dry_run else token(read_key(settings.data), found.kind, found.text)
            done = asyncio.run(body(url, found, name, reason, dry_run=dry_run))
    except (RedactError, KeyFileError) as error:
        raise refuse(error) from None
    except UnfinishedError as error:
        raise refuse(error, 1) from None
    typer.echo(told(done, dry_run=dry_run))
