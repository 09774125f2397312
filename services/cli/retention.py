"""The commands archive and redact."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import LEDGER, SettingsFile, app, failure, load_settings, open_database


@app.command(rich_help_panel=LEDGER)
def archive(
    *,
    before: Annotated[str, typer.Option(metavar="MONTH", help="The first month that stays in the log: 2026-10.")],
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the files; default: archive in RINGLEDGER_DATA.")
    ] = None,
    drop: Annotated[
        bool, typer.Option("--drop", help="Drop the months' tables; otherwise they stay in schema archived.")
    ] = False,
    file: SettingsFile = None,
) -> None:
    """Move old months from the log into files, one per month, for `import`. It works while `up` runs.

    Models continue from states saved at the new start of the log. The chain continues there too, and `verify --archive`
    checks the files against it. A request for an earlier time is refused with the name of the file. After an
    interruption, run the command again. To restore the whole log, `import` all files in order into an empty database.
    """
    from services.retention.archive import archive as run_archive
    from services.retention.archive import parse_month
    from services.retention.archive_report import report_lines
    from services.retention.detach import ArchiveError

    try:
        month = parse_month(before)
        settings = load_settings(file)
        with open_database(settings) as url:
            result = asyncio.run(run_archive(url, month, output or settings.data / "archive", drop=drop))
    except ArchiveError as error:
        raise failure(error, error.code) from None
    for line in report_lines(result):
        typer.echo(line)


@app.command(rich_help_panel=LEDGER)
def redact(
    *,
    number: Annotated[
        str | None, typer.Option(metavar="N", help="A telephone number; - reads it from standard input.")
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="A name; - reads it from standard input.")] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="The reason, which is stored in the log.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report where it occurs.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Accept short ones, which may match other things.")] = False,
    file: SettingsFile = None,
) -> None:
    """Erase a person: replace a number or a name by a token in the log and in all views. It works while `up` runs.

    The chain of the log stays valid: an event lists the changed events, and `ringledger verify` reports it. A number is
    replaced where it occurs as a whole, not within a longer number, a unique id or a time. Backups, exports and spools
    are not reached; see docs/architecture/retention.md.
    """
    from services.retention.redact import RedactError
    from services.retention.redact import redact as run_redact
    from services.retention.redact_key import KeyFileError, read_key, token_of
    from services.retention.redact_models import UnfinishedError
    from services.retention.redact_pattern import RedactionPatternError, parse_pattern
    from services.retention.redact_report import report
    from services.runtime import process

    try:
        values = (sys.stdin.readline().strip() if value == "-" else value for value in (number, text))
        pattern = parse_pattern(*values, force=force)
    except RedactionPatternError as error:
        raise failure(error) from None
    settings = load_settings(file)
    process.configure_logging("redact")
    os.nice(5)
    try:
        with open_database(settings) as url:
            token = "a token" if dry_run else token_of(read_key(settings.data), pattern.kind, pattern.text)
            redaction = asyncio.run(run_redact(url, pattern, token, reason, dry_run=dry_run))
    except (RedactError, KeyFileError) as error:
        raise failure(error) from None
    except UnfinishedError as error:
        raise failure(error, 1) from None
    typer.echo(report(redaction, dry_run=dry_run))
