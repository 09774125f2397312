"""Sections of configuration files: static dialplans (seed 001:1700-1812), parking lots (1894-1997, 2320-2377), queues.

``data`` of a dialplan is its lines, each an object of one member whose value begins with ``> ``; ``data`` of a lot or
queue is its options, where one that is given several times (``member``) has a list. A section that inherits names its
templates in ``templates``; what comes from them is no part of ``data``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.http.body import Name, read_body
from api.http.errors import ApiError, Handler
from api.http.views import Args, View, pbx_filter, storable_text
from api.jade import envelope
from api.jade.config.files import MODELS, done, tokened
from api.jade.writes import where
from schemas.acts.config import ConfigSection
from schemas.configuration import DIALPLAN, PARKING, QUEUES, Line, Section
from services.asterisk.config.checks import check
from services.asterisk.config.text import ConfigTextError, parse, render, sections_in
from services.commands.act import one_pbx

TEXT = """
SELECT pbx, text, $2::text AS wanted, tm_update
FROM configurations
WHERE ($1::text IS NULL OR pbx = $1) AND file = $3 AND name = $3
ORDER BY pbx
"""
SPECIAL = frozenset({"general", "globals"})

Options = dict[str, str | list[str]]
Lines = list[dict[str, str]]


class Created(Struct, frozen=True):
    """Body of a POST; ``data`` is `Lines` or `Options`."""

    name: Name
    data: Any = None
    templates: list[Name] = []


class Updated(Struct, frozen=True):
    """Body of a PUT."""

    data: Any
    templates: list[Name] | None = None


class Kind(Struct, frozen=True):
    """Sections of one kind, served at ``path``."""

    path: str
    file: str
    shown: Callable[[Section], Any]
    lines: Callable[[Any], list[Line]]


def shown_lines(section: Section) -> Lines:
    return [{line.name: f"> {line.value}"} for line in section.lines]


def lines_of_dialplan(data: Any) -> list[Line]:
    if not isinstance(data, list) or not all(isinstance(one, dict) and len(one) == 1 for one in data):
        raise ApiError(400, 'data: a list of objects with one member, like {"exten": "> 100,1,Answer()"}')
    return [line for one in data for line in lines_of_options(one)]


def shown_options(section: Section) -> Options:
    options: Options = {}
    for line in section.lines:
        before = options.get(line.name)
        if before is None:
            options[line.name] = line.value
        else:
            options[line.name] = [*(before if isinstance(before, list) else [before]), line.value]
    return options


def lines_of_options(data: Any) -> list[Line]:
    if not isinstance(data, dict):
        raise ApiError(400, "data: an object of options")
    lines: list[Line] = []
    for name, given in data.items():
        for value in given if isinstance(given, list) else [given]:
            if not isinstance(value, str):
                raise ApiError(400, f"data: the value of {name} is no string")
            lines.append(Line(name, value.removeprefix("> ")))
    return lines


def written(file: str, section: Section) -> Section:
    """Return the section if a file can hold it. Raises ApiError 400."""
    alone = Section(section.name, section.lines)
    try:
        found = parse(render([alone]))
        if found.sections != [alone]:
            raise ApiError(400, "data: names and values have no line breaks, and no blanks around them")
        check(file, found)
    except ConfigTextError as error:
        raise ApiError(400, f"data: {error.words} (item {error.line - 1})", "invalid") from None
    return section


def refuse_special(name: str) -> None:
    if name.lower() in SPECIAL:
        raise ApiError(404, "no such thing")


def views(kind: Kind) -> tuple[View, View]:
    """Make the list and the detail."""

    def items(rows: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
        return [
            {
                "pbx": row["pbx"],
                "name": section.name,
                "data": kind.shown(section),
                "templates": list(section.inherits),
                "tm_update": row["tm_update"],
            }
            for row in rows
            for section in sections_in(row["text"])
            if not section.template and section.name.lower() not in SPECIAL
            if row["wanted"] is None or section.name == row["wanted"]
        ]

    def everything(request: web.Request) -> Args:
        return (pbx_filter(request), None, kind.file)

    def detail(request: web.Request) -> Args:
        return (pbx_filter(request), storable_text(request.match_info["detail"]), kind.file)

    def first(rows: Sequence[asyncpg.Record]) -> dict[str, Any] | None:
        return next(iter(items(rows)), None)

    return (
        View(f"{kind.path}.list", MODELS, TEXT, everything, lambda rows: {"list": items(rows)}, envelope.ENVELOPE),
        View(f"{kind.path}.get", MODELS, TEXT, detail, first, envelope.ENVELOPE),
    )


def creates(kind: Kind) -> Handler:
    async def create(request: web.Request) -> web.Response:
        """POST of a section."""
        given = await read_body(request, Created)
        if given.name.lower() in SPECIAL:
            raise ApiError(409, f"there is a section [{given.name}]", "conflict")
        data = given.data if given.data is not None else ([] if kind.file == DIALPLAN else {})
        section = written(kind.file, Section(given.name, tuple(kind.lines(data)), inherits=tuple(given.templates)))
        (cut,) = await tokened(request, [section])
        wanted = ConfigSection(kind.file, cut.name, "create", cut.lines, cut.inherits)
        return await done(request, await one_pbx(request), wanted, where(request, kind.path, given.name))

    return create


def updates(kind: Kind) -> Handler:
    async def update(request: web.Request) -> web.Response:
        """PUT of a section's lines."""
        name = storable_text(request.match_info["detail"])
        refuse_special(name)
        given = await read_body(request, Updated)
        (cut,) = await tokened(request, [written(kind.file, Section(name, tuple(kind.lines(given.data))))])
        inherits = None if given.templates is None else tuple(given.templates)
        wanted = ConfigSection(kind.file, name, "update", cut.lines, inherits)
        return await done(request, await one_pbx(request), wanted)

    return update


def deletes(file: str) -> Handler:
    async def delete(request: web.Request) -> web.Response:
        """DELETE of a section."""
        name = storable_text(request.match_info["detail"])
        refuse_special(name)
        return await done(request, await one_pbx(request), ConfigSection(file, name, "delete"))

    return delete


async def change_lot(request: web.Request) -> web.Response:
    """PUT of a parking lot: sets the options that the body names (seed 001:2320-2353)."""
    name = storable_text(request.match_info["detail"])
    refuse_special(name)
    options = await read_body(request, dict[str, Any])
    (cut,) = await tokened(request, [written(PARKING, Section(name, tuple(lines_of_options(options))))])
    wanted = ConfigSection(PARKING, name, "change", cut.lines)
    return await done(request, await one_pbx(request), wanted)


SDPS = Kind("/admin/dialplan/sdps", DIALPLAN, shown_lines, lines_of_dialplan)
SDIALPLANS = Kind("/manager/sdialplans", DIALPLAN, shown_lines, lines_of_dialplan)
CFG_PARKINGLOTS = Kind("/admin/park/cfg_parkinglots", PARKING, shown_options, lines_of_options)
CFG_QUEUES = Kind("/admin/queue/cfg_queues", QUEUES, shown_options, lines_of_options)
