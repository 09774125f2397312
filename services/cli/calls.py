"""The commands calls and call."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.options import LEDGER, AsJson, SettingsFile, app, failure, load_settings, open_database

if TYPE_CHECKING:
    import asyncpg

COLUMNS = ("started", "pbx", "linked id", "caller", "destination", "outcome", "talk", "duration")
Pbx = Annotated[str | None, typer.Option(metavar="NAME", help="Only calls of this PBX.")]
Time = "A time such as 2026-11-23T14:03:00Z."


@app.command(rich_help_panel=LEDGER)
def calls(
    *,
    pbx: Pbx = None,
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help=f"Started at or after. {Time}")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Started before.")] = None,
    number: Annotated[str | None, typer.Option(help="A number of any party.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="An endpoint of any party: PJSIP/100.")] = None,
    queue: Annotated[str | None, typer.Option(help="A queue that the call passed.")] = None,
    agent: Annotated[str | None, typer.Option(help="An agent of a queue.")] = None,
    direction: Annotated[str | None, typer.Option(help="internal, inbound, outbound or transit.")] = None,
    outcome: Annotated[str | None, typer.Option(help="answered, abandoned, busy, no_answer, ...")] = None,
    state: Annotated[str | None, typer.Option(help="ended, talking, ringing, waiting, ...")] = None,
    transferred: Annotated[bool, typer.Option("--transferred", help="Only transferred calls.")] = False,
    min_talk: Annotated[float | None, typer.Option(metavar="SECONDS", min=0, help="At least as much talk.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The most calls.")] = 100,
    as_json: AsJson = False,
    file: SettingsFile = None,
) -> None:
    """Show calls, the newest first, with the filters of /v1/calls. Requires the database only.

    Without a terminal, each call is one line with columns separated by tabs.
    """
    from services.calls.listing import DIRECTIONS, OUTCOMES, STATES, digits_of, first_calls

    for name, value, words in (
        ("direction", direction, DIRECTIONS),
        ("outcome", outcome, OUTCOMES),
        ("state", state, STATES),
    ):
        if value is not None and value not in words:
            raise failure(f"--{name}: {', '.join(words)}")
    digits = None if number is None else digits_of(number)
    if digits == "":
        raise failure("--number: has no digits")
    values: dict[str, Any] = {
        "pbx": pbx,
        "from": _time("--from", since),
        "to": _time("--to", until),
        "number": digits,
        "endpoint": endpoint,
        "queue": queue,
        "agent": agent,
        "direction": direction,
        "outcome": outcome,
        "state": state,
        "transferred": True if transferred else None,
        "min_talk": min_talk,
    }
    objects = _objects(file, lambda connection: first_calls(connection, values, limit), is_full=False)
    if as_json:
        _print_json(objects)
    else:
        _print_table(objects)


@app.command(rich_help_panel=LEDGER)
def call(
    call_id: Annotated[str, typer.Argument(metavar="ID", help="A linked id, or the unique id of a channel.")],
    *,
    pbx: Pbx = None,
    as_json: AsJson = False,
    file: SettingsFile = None,
) -> None:
    """Show the story of one call as a timeline, with the log positions behind each line. Requires the database only.

    The positions are left out if the events of the call are archived, or too many to fold.
    """
    from services.calls.objects import call_object
    from services.calls.one import OF_ID, OF_PBX_AND_ID
    from services.calls.story_lines import story_lines
    from services.database.connection import create_pool
    from services.replay.explain_call import fetch_positions
    from services.replay.history_report import printable

    sql, parameters = (OF_ID, (call_id,)) if pbx is None else (OF_PBX_AND_ID, (pbx, call_id))
    objects = _objects(file, lambda connection: connection.fetch(sql, *parameters), is_full=True)
    if not objects:
        raise failure(f"not found: call {call_id}", 1)
    if as_json:
        _print_json(objects[0])
        return

    async def explain(url: str) -> Any:
        async with await create_pool(url, size=1, search_path="model, ledger") as pool:
            return await fetch_positions(pool, objects[0]["pbx"], objects[0]["linkedid"])

    with open_database(load_settings(file)) as url:
        row, positions = asyncio.run(explain(url))
    for line in story_lines(call_object(row), positions or {}):
        typer.echo(printable(line))
    if positions is None:
        typer.echo("ringledger: no positions: the events of this call are archived, or too many to fold", err=True)


def _time(option: str, text: str | None) -> Any:
    from services.log.times import parse_rfc3339

    try:
        return None if text is None else parse_rfc3339(text)
    except ValueError as error:
        raise failure(f"{option}: {error}") from None


def _objects(
    file: Path | None,
    rows_of: "Callable[[asyncpg.Connection], Awaitable[Sequence[Mapping[str, Any]]]]",
    *,
    is_full: bool,
) -> list[dict[str, Any]]:
    """Return the objects of the calls whose rows a function reads."""
    import msgspec

    from services.calls.objects import call_bytes
    from services.database.connection import connect
    from services.database.errors import NO_LEDGER, NO_LEDGER_MESSAGE

    async def read(url: str) -> Sequence[Mapping[str, Any]]:
        connection = await connect(url, search_path="model, ledger")
        try:
            return await rows_of(connection)
        finally:
            await connection.close()

    with open_database(load_settings(file)) as url:
        try:
            rows = asyncio.run(read(url))
        except NO_LEDGER:
            raise failure(NO_LEDGER_MESSAGE) from None
    return [msgspec.json.decode(call_bytes(row, is_full=is_full)) for row in rows]


def _print_json(value: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(value).decode())


def _cells(one: Mapping[str, Any]) -> list[str]:
    from services.calls.story_lines import person
    from services.replay.history_report import printable

    lasts = one["duration_seconds"]
    return [
        printable(cell)
        for cell in (
            one["started_at"],
            one["pbx"],
            one["linkedid"],
            person(one["caller"]),
            person(one["destination"]),
            one["outcome"] or one["state"],
            f"{one['talk_seconds']:.1f}",
            "" if lasts is None else f"{lasts:.1f}",
        )
    ]


def _print_table(objects: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not sys.stdout.isatty():
        for line in (COLUMNS, *map(_cells, objects)):
            typer.echo("\t".join(line))
        return
    table = Table(*COLUMNS)
    for one in objects:
        table.add_row(*map(Text, _cells(one)))
    Console().print(table)
