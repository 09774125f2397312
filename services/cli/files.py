"""The commands that take the ledger out and in: export, import."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import LEDGER, File, app, database_held, refuse, settings_of


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
    from services.log.archives import ArchivedError
    from services.log.bounds import UnknownPbxError, parse_bound
    from services.transfer.export_ami import export as body
    from services.transfer.export_ledger import ExportError, export_ledger

    if ami == (output is not None):
        raise refuse("export what? --output FILE for a file that `import` takes, or --ami to standard output")
    if ami and not pbx:
        raise refuse("export --ami of which PBX? give --pbx NAME")
    try:
        begin, end = (parse_bound(text) if text else None for text in (since, until))
    except ValueError as error:
        raise refuse(error) from None
    try:
        with database_held(settings_of(file)) as url:
            if output is None:
                asyncio.run(body(url, pbx, sys.stdout.buffer, begin, end))
            else:
                written = asyncio.run(export_ledger(url, output, pbx or None, begin, end))
    except (UnknownPbxError, ExportError, ArchivedError) as error:
        raise refuse(error) from None
    except BrokenPipeError:
        # Whoever read has had enough; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except OSError as error:
        raise refuse(error) from None
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
    skip_damaged: Annotated[  # noqa: FBT002
        bool, typer.Option("--skip-damaged", help="Leave out and list what is no record, instead of refusing the file.")
    ] = False,
    file: File = None,
) -> None:
    """Take into the ledger what `export` wrote, or Asterisk itself; repeating it changes nothing.

    Every file is checked whole before anything is written. A ledger file of all PBXes that follows on what is here
    becomes a part of the same chain; the events of any other are appended. Of Asterisk's own files comes in what is
    from before the PBX was listened to.
    """
    from services.transfer import import_asterisk as import_lines
    from services.transfer import import_content, import_ledger
    from services.transfer.asterisk_files import LinesError
    from services.transfer.ledger_file import LedgerFileError
    from services.transfer.timezones import ZoneError

    options: dict[import_content.AnyKind, bool]
    options = {"ami": ami, "cdr_csv": master_csv, "cel_csv": cel_csv, "queue_log": queue_log}
    kinds = [kind for kind, given in options.items() if given]
    if len(kinds) > 1:
        raise refuse("one of --ami, --master-csv, --cel-csv and --queue-log at a time")
    if bool(kinds) != bool(pbx):
        raise refuse("--pbx NAME goes with --ami, --master-csv, --cel-csv or --queue-log; a ledger file names its own")
    if skip_damaged and not kinds:
        raise refuse(
            "--skip-damaged is for raw AMI and files of Asterisk's; a ledger file is taken whole or not at all"
        )
    if timezone and kinds not in (["cdr_csv"], ["cel_csv"]):
        raise refuse("--timezone goes with --master-csv or --cel-csv")

    async def say(done: AsyncIterator[str]) -> None:
        async for one in done:
            typer.echo(one)

    try:
        ledgers = [] if kinds else import_ledger.checked(files)
        contents = import_content.checked(files, kinds[0], skip_damaged=skip_damaged) if kinds else []
        with database_held(settings_of(file), create=True, fault=1) as url:
            asyncio.run(
                say(
                    import_lines.import_lines(url, contents, pbx, timezone)
                    if kinds
                    else import_ledger.import_ledger(url, ledgers)
                )
            )
    except (LedgerFileError, LinesError, import_ledger.ImportRefusedError, ZoneError) as error:
        raise refuse(error) from None
