"""The command report: the figures of queues and agents as a table."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.options import LEDGER, AsJson, SettingsFile, app, failure, load_settings, open_database

if TYPE_CHECKING:
    from services.statistics.period import Period

QUEUE_COLUMNS = (
    *("received", "answered", "abandoned", "timeout", "in_sla_percent", "answered_percent", "wait_avg_seconds"),
    *("wait_max_seconds", "talk_seconds", "transferred", "ring_no_answers"),
)
AGENT_COLUMNS = (
    *("offered", "answered", "ring_no_answers", "transferred", "talk_seconds", "login_seconds", "pause_seconds"),
    *("wrapup_seconds", "occupancy_percent"),
)
"""The figures that fit on a terminal; lines and JSON have all."""


class Kind(StrEnum):
    """The kinds of reports."""

    QUEUES = "queues"
    AGENTS = "agents"


@app.command(rich_help_panel=LEDGER)
def report(
    kind: Annotated[Kind, typer.Argument(metavar="queues|agents", help="The figures of queues, or of agents.")],
    *,
    name: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A queue or an agent; repeatable.")] = None,
    pbx: Annotated[str | None, typer.Option(metavar="NAME", help="Only this PBX.")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Default: today.")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="The end, exclusive.")] = None,
    every: Annotated[str, typer.Option(help="hour, day, week or month.")] = "day",
    timezone: Annotated[str, typer.Option(help="A time zone such as Europe/Berlin.")] = "UTC",
    sla: Annotated[int, typer.Option(min=0, help="The service level of queues in seconds.")] = 20,
    as_json: AsJson = False,
    file: SettingsFile = None,
) -> None:
    """Show the figures of queues or agents, as /v1/statistics has them. Requires the database only.

    Without a terminal, each bucket is one line with columns separated by tabs.
    """
    from services.statistics import agents, queues

    now, names = datetime.now(UTC), tuple(dict.fromkeys(name or ()))
    span = _period(since, until, every, timezone, now)
    by = {"by_pbx": pbx is not None, "by_name": bool(names)}
    if kind is Kind.QUEUES:
        sql, args = queues.sql(queues.table_of(span), **by), queues.args(span, sla, names)
        made = _rows(file, sql, (pbx, *args) if pbx is not None else args, span, lambda some: queues.figures(some[0]))
    else:
        sql, args = agents.sql(agents.table_of(span), **by), (*agents.args(span, names), now)
        made = _rows(file, sql, (pbx, *args) if pbx is not None else args, span, agents.figures)
    _print(made, QUEUE_COLUMNS if kind is Kind.QUEUES else AGENT_COLUMNS, as_json=as_json)


def _period(since: str | None, until: str | None, every: str, timezone: str, now: datetime) -> "Period":
    from services.log.times import parse_rfc3339
    from services.statistics.buckets import EVERY, day_of, zone_of
    from services.statistics.period import span_of

    word = next((one for one in EVERY if one == every), None)
    if word is None:
        raise failure(f"--every: {', '.join(EVERY)}")
    try:
        today = day_of(now, zone_of(timezone))
        begin, end = (today[n] if text is None else parse_rfc3339(text) for n, text in enumerate((since, until)))
        if begin > end:
            raise failure("--from must not be after --to")
        return span_of(begin, end, word, timezone)
    except (ValueError, OverflowError) as error:
        raise failure(error) from None


def _rows(
    file: Path | None,
    sql: str,
    parameters: tuple[Any, ...],
    span: "Period",
    figures: Callable[[Sequence[Any]], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return one row for each PBX, name and bucket."""
    from services.database.connection import connect
    from services.database.errors import NO_LEDGER, NO_LEDGER_MESSAGE
    from services.log.times import rfc3339
    from services.statistics.groups import groups

    async def read(url: str) -> list[Any]:
        connection = await connect(url, search_path="model, ledger")
        try:
            return list(await connection.fetch(sql, *parameters))
        finally:
            await connection.close()

    with open_database(load_settings(file)) as url:
        try:
            rows = asyncio.run(read(url))
        except NO_LEDGER:
            raise failure(NO_LEDGER_MESSAGE) from None
    return [
        {"pbx": pbx, "name": name, "at": rfc3339(span.edges[bucket - 1]), **figures(some)}
        for name, pbx, bucket, some in groups(rows)
        if bucket
    ]


def _print(made: list[dict[str, Any]], columns: tuple[str, ...], *, as_json: bool) -> None:
    import msgspec
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from services.replay.history_report import printable

    if as_json:
        typer.echo(msgspec.json.encode(made).decode())
        return
    if not sys.stdout.isatty():
        for line in (list(made[0]), *(list(row.values()) for row in made)) if made else ():
            typer.echo("\t".join(map(printable, line)))
        return
    table = Table("pbx", "name", "at", *(column.replace("_", " ") for column in columns))
    for row in made:
        table.add_row(*(Text(printable(row[column])) for column in ("pbx", "name", "at", *columns)))
    Console().print(table)
