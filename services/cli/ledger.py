"""The commands migrate and verify."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import LEDGER, SettingsFile, app, failure, load_settings, open_database


@app.command(rich_help_panel=LEDGER)
def migrate(file: SettingsFile = None) -> None:
    """Bring the database's schema up to date. `up` does this itself."""
    from services.database.connection import connect
    from services.database.migrate import migrate as apply_migrations

    async def apply(url: str) -> list[str]:
        connection = await connect(url)
        try:
            return await apply_migrations(connection)
        finally:
            await connection.close()

    with open_database(load_settings(file)) as url:
        typer.echo("\n".join(asyncio.run(apply(url))) or "nothing to do")


@app.command(rich_help_panel=LEDGER)
def verify(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", show_default=False, help="Files of archived months.")
    ] = None,
    *,
    archive: Annotated[bool, typer.Option("--archive", help="Also check the FILEs of archived months.")] = False,
    anchor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also check the signed heads in FILE, and add the present one.")
    ] = None,
    file: SettingsFile = None,
) -> None:
    """Prove that the log is what was appended, from the database alone. It works while `up` runs.

    Exit code 0: the log is intact, except for redactions, which are listed. Exit code 1: it is not, and a line names
    the first damaged event. A writer of the database can recompute the end of the log; an anchor file in a place that
    they cannot write reveals that. A log with archived months is proved from its start; with --archive and all their
    files, it is proved from position 1.
    """
    from concurrent.futures import BrokenExecutor

    from services.database.errors import NoLedgerError
    from services.integrity.anchors import AnchorError, verify_with_anchors
    from services.integrity.archives import StrayFileError, summary_line
    from services.integrity.damage import DamageError
    from services.integrity.verify import verify_log
    from services.log.redactions import RedactionError
    from services.transfer.ledger_file import LedgerFileError

    if archive != bool(files):
        raise failure("--archive and FILE... must be given together: verify --archive FILE...")
    if missing := [str(one) for one in files or [] if not one.is_file()]:
        raise failure(f"not found: file {missing[0]}")
    settings = load_settings(file)
    anchors = ""
    try:
        with open_database(settings) as url:
            if anchor is None:
                result = asyncio.run(verify_log(url, files=files or ()))
            else:
                result, anchors = asyncio.run(verify_with_anchors(url, anchor, settings.data, files or ()))
    except (AnchorError, NoLedgerError, StrayFileError) as error:
        raise failure(error) from None
    except (DamageError, LedgerFileError, RedactionError) as error:
        typer.echo(error)
        raise typer.Exit(1) from None
    except BrokenExecutor as error:
        raise failure(f"the database cannot be read: {error}") from None
    typer.echo(
        f"honest: {result.events} events in {result.batches} batches up to position {result.end.position},"
        f" hash {result.end.hash.hex()}" + (f"; {anchors}" if anchors else "")
    )
    if result.archives:
        typer.echo(summary_line(result.archives, result.checked))
    for redaction in result.redactions:
        typer.echo(redaction.line())
