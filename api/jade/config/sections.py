"""Sections of configuration files: static dialplans (seed 001:1700-1812), parking lots (1894-1997, 2320-2377), queues.

``data`` of a dialplan is its lines, each an object of one member whose value begins with ``> ``. ``data`` of a lot or
queue is its options, where a repeated one (``member``) has a list. ``templates`` are those that a section inherits
from; ``data`` does not include their lines.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.http.body import Name, read_body
from api.http.errors import Handler
from api.http.idempotency import command_args
from api.http.views.view import Args, View, pbx_filter, storable_text
from api.jade import envelope
from api.jade.resource import detail, everything
from api.jade.writes import location_of, write_response
from schemas.configuration import DIALPLAN, PARKING, QUEUES, Line, Section
from services.asterisk.config.checks import FILE_SETTINGS
from services.asterisk.config.text import sections_in
from services.commands.config_files import MODELS
from services.commands.config_sections import change_options, create_section, delete_section, update_section
from services.runtime.errors import Invalid

TEXT = """
SELECT pbx, text, $2::text AS section, tm_update
FROM configurations
WHERE ($1::text IS NULL OR pbx = $1) AND file = $3 AND name = $3
ORDER BY pbx
"""

Options = dict[str, str | list[str]]
Lines = list[dict[str, str]]


class PostBody(Struct, frozen=True):
    """Body of a POST; ``data`` is `Lines` or `Options`."""

    name: Name
    data: Any = None
    templates: list[Name] = []


class PutBody(Struct, frozen=True):
    """Body of a PUT."""

    data: Any
    templates: list[Name] | None = None


class SectionKind(Struct, frozen=True):
    """Sections of one kind, served at ``path``; ``data_of`` and ``lines_of`` convert their lines."""

    path: str
    file: str
    data_of: Callable[[Section], Any]
    lines_of: Callable[[Any], list[Line]]


def dialplan_data(section: Section) -> Lines:
    return [{line.name: f"> {line.value}"} for line in section.lines]


def dialplan_lines(data: Any) -> list[Line]:
    if not isinstance(data, list) or not all(isinstance(item, dict) and len(item) == 1 for item in data):
        raise Invalid('data: a list of objects with one member, like {"exten": "> 100,1,Answer()"}')
    return [line for item in data for line in option_lines(item)]


def option_data(section: Section) -> Options:
    options: Options = {}
    for line in section.lines:
        before = options.get(line.name)
        if before is None:
            options[line.name] = line.value
        else:
            options[line.name] = [*(before if isinstance(before, list) else [before]), line.value]
    return options


def option_lines(data: Any) -> list[Line]:
    if not isinstance(data, dict):
        raise Invalid("data: an object of options")
    lines: list[Line] = []
    for name, values in data.items():
        for value in values if isinstance(values, list) else [values]:
            if not isinstance(value, str):
                raise Invalid(f"data: the value of {name} is not a string")
            lines.append(Line(name, value.removeprefix("> ")))
    return lines


def views(kind: SectionKind) -> tuple[View, View]:
    """Return the views of the list and the detail."""

    def items(rows: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
        return [
            {
                "pbx": row["pbx"],
                "name": section.name,
                "data": kind.data_of(section),
                "templates": list(section.inherits),
                "tm_update": row["tm_update"],
            }
            for row in rows
            for section in sections_in(row["text"])
            if not section.template and section.name.lower() not in FILE_SETTINGS
            if row["section"] in {None, section.name}
        ]

    def all_args(request: web.Request) -> Args:
        return (*everything(request), kind.file)

    def one_args(request: web.Request) -> Args:
        return (*detail(request), kind.file)

    def first(rows: Sequence[asyncpg.Record], _now: datetime) -> dict[str, Any] | None:
        return next(iter(items(rows)), None)

    return (
        View(f"{kind.path}.list", MODELS, TEXT, all_args, lambda rows, _: {"list": items(rows)}, envelope.RENDERER),
        View(f"{kind.path}.get", MODELS, TEXT, one_args, first, envelope.RENDERER),
    )


def post_handler(kind: SectionKind) -> Handler:
    async def post(request: web.Request) -> web.Response:
        body = await read_body(request, PostBody)
        data = body.data if body.data is not None else ([] if kind.file == DIALPLAN else {})
        section = Section(body.name, tuple(kind.lines_of(data)), inherits=tuple(body.templates))
        location = location_of(request, kind.path, body.name)
        outcome = await create_section(
            *await command_args(request), kind.file, section, pbx=pbx_filter(request), location=location
        )
        return write_response(outcome)

    return post


def put_handler(kind: SectionKind) -> Handler:
    async def put(request: web.Request) -> web.Response:
        name = storable_text(request.match_info["detail"])
        body = await read_body(request, PutBody)
        outcome = await update_section(
            *await command_args(request),
            kind.file,
            name,
            kind.lines_of(body.data),
            pbx=pbx_filter(request),
            templates=None if body.templates is None else tuple(body.templates),
        )
        return write_response(outcome)

    return put


def delete_handler(file: str) -> Handler:
    async def delete(request: web.Request) -> web.Response:
        name = storable_text(request.match_info["detail"])
        return write_response(await delete_section(*await command_args(request), file, name, pbx_filter(request)))

    return delete


async def change_lot(request: web.Request) -> web.Response:
    """PUT of a parking lot: sets the options that the body names (seed 001:2320-2353)."""
    name = storable_text(request.match_info["detail"])
    lines = option_lines(await read_body(request, dict[str, Any]))
    outcome = await change_options(*await command_args(request), PARKING, name, lines, pbx=pbx_filter(request))
    return write_response(outcome)


SDPS = SectionKind("/admin/dialplan/sdps", DIALPLAN, dialplan_data, dialplan_lines)
SDIALPLANS = SectionKind("/manager/sdialplans", DIALPLAN, dialplan_data, dialplan_lines)
CFG_PARKINGLOTS = SectionKind("/admin/park/cfg_parkinglots", PARKING, option_data, option_lines)
CFG_QUEUES = SectionKind("/admin/queue/cfg_queues", QUEUES, option_data, option_lines)
