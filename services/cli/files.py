"""The commands export and import."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import LEDGER, SettingsFile, app, failure, load_settings, open_database


@app.command(rich_help_panel=LEDGER)
def export(  # noqa: PLR0917 (typer passes them by name)
    pbx: Annotated[str, typer.Option(metavar="NAME", help="Only this PBX, by its name in the ledger.")] = "",
    since: Annotated[
        str, typer.Option("--from", metavar="POSITION|TIME", help="First position, or earliest time of appending.")
    ] = "",
    until: Annotated[
        str, typer.Option("--to", metavar="POSITION|TIME", help="Last position, or time of appending (exclusive).")
    ] = "",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write whole batches to FILE, for `import`: *.jsonl.zst")
    ] = None,
    ami: Annotated[bool, typer.Option("--ami", help="Write AMI event blocks, exactly as they were received.")] = False,  # noqa: FBT002
    file: SettingsFile = None,
) -> None:
    """Export the ledger for `import`, or with --ami a PBX's AMI events byte for byte. It works while `up` runs."""
    from services.log.archives import ArchivedError
    from services.log.bounds import UnknownPbxError, parse_bound
    from services.transfer.export_ami import export_ami
    from services.transfer.export_ledger import ExportError, export_ledger

    if ami == (output is not None):
        raise failure("give either --output FILE, for a file that `import` reads, or --ami, for standard output")
    if ami and not pbx:
        raise failure("export --ami requires --pbx NAME")
    try:
        bounds = [parse_bound(text) if text else None for text in (since, until)]
    except ValueError as error:
        raise failure(error) from None
    try:
        with open_database(load_settings(file)) as url:
            if output is None:
                asyncio.run(export_ami(url, pbx, sys.stdout.buffer, *bounds))
            else:
                manifest = asyncio.run(export_ledger(url, output, pbx or None, *bounds))
    except (UnknownPbxError, ExportError, ArchivedError) as error:
        raise failure(error) from None
    except BrokenPipeError:
        # The reader has closed the pipe; without this, Python would report it again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except OSError as error:
        raise failure(error) from None
    if output is not None:
        positions = f"positions {manifest.first} to {manifest.last}"
        typer.echo(f"{output}: {manifest.events} events in {manifest.batches} batches, {positions}")


@app.command("import", rich_help_panel=LEDGER)
def import_(  # noqa: PLR0917 (typer passes them by name)
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", show_default=False)],
    ami: Annotated[bool, typer.Option("--ami", help="AMI event blocks, as `export --ami` writes them.")] = False,  # noqa: FBT002
    master_csv: Annotated[bool, typer.Option("--master-csv", help="Asterisk's Master.csv (cdr_csv).")] = False,  # noqa: FBT002
    cel_csv: Annotated[bool, typer.Option("--cel-csv", help="CEL's csv, as cel_custom writes it.")] = False,  # noqa: FBT002
    queue_log: Annotated[bool, typer.Option("--queue-log", help="Asterisk's queue_log.")] = False,  # noqa: FBT002
    pbx: Annotated[str, typer.Option(metavar="NAME", help="The PBX of these files, by its name in the ledger.")] = "",
    timezone: Annotated[
        str,
        typer.Option(metavar="ZONE", help="Zone of local times: Europe/Berlin, UTC, +01:00. Default: the PBX's clock."),
    ] = "",
    columns: Annotated[
        str,
        typer.Option(
            metavar="A,B,...", help="Columns of the CEL csv: eventtype, eventtime, uniqueid, linkedid and others."
        ),
    ] = "",
    skip_damaged: Annotated[  # noqa: FBT002
        bool, typer.Option("--skip-damaged", help="Skip and list damaged records, instead of refusing the file.")
    ] = False,
    file: SettingsFile = None,
) -> None:
    """Import files of `export` or of Asterisk itself. Importing a file again changes nothing.

    All files are checked completely before anything is written. A ledger file of all PBXes that follows the end of this
    log continues the same chain; the events of other files are appended. Records of Asterisk's own files are imported
    if they are from before the PBX was first connected.
    """
    from schemas.cel_columns import ColumnsError, parse_columns
    from services.transfer import import_content, import_ledger
    from services.transfer.asterisk_files import AsteriskFileError
    from services.transfer.import_asterisk import import_asterisk
    from services.transfer.ledger_file import LedgerFileError
    from services.transfer.timezones import TimezoneError

    options: dict[import_content.FileKind, bool]
    options = {"ami": ami, "cdr_csv": master_csv, "cel_csv": cel_csv, "queue_log": queue_log}
    kinds = [kind for kind, is_set in options.items() if is_set]
    if len(kinds) > 1:
        raise failure("give only one of --ami, --master-csv, --cel-csv and --queue-log")
    if bool(kinds) != bool(pbx):
        raise failure(
            "--pbx NAME belongs to --ami, --master-csv, --cel-csv or --queue-log; a ledger file contains its PBX names"
        )
    if skip_damaged and not kinds:
        raise failure("--skip-damaged is for raw AMI and Asterisk's own files; a ledger file is imported whole")
    if timezone and kinds not in (["cdr_csv"], ["cel_csv"]):
        raise failure("--timezone belongs to --master-csv or --cel-csv")
    if columns and kinds != ["cel_csv"]:
        raise failure("--columns belongs to --cel-csv")
    try:
        names = parse_columns(columns) if columns else ()
    except ColumnsError as error:
        raise failure(f"--columns: {error}") from None

    async def print_lines(lines: AsyncIterator[str]) -> None:
        async for line in lines:
            typer.echo(line)

    try:
        ledgers = [] if kinds else import_ledger.check_files(files)
        contents = (
            import_content.read_contents(files, kinds[0], skip_damaged=skip_damaged, columns=names) if kinds else []
        )
        with open_database(load_settings(file), create=True, fault=1) as url:
            lines = (
                import_asterisk(url, contents, pbx, timezone) if kinds else import_ledger.import_ledger(url, ledgers)
            )
            asyncio.run(print_lines(lines))
    except (LedgerFileError, AsteriskFileError, import_ledger.ImportRefusedError, TimezoneError) as error:
        raise failure(error) from None
