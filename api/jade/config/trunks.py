"""/manager/trunks: PJSIP registrations with what belongs to them (seed 001:3811-3827, which shows no members)."""

from collections.abc import Sequence
from typing import Any

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.http.body import Name, read_body
from api.http.errors import ApiError
from api.http.views import Args, View, pbx_filter, storable_text
from api.jade import envelope
from api.jade.config.files import done, tokened
from api.jade.config.sections import written
from api.jade.writes import where
from schemas.acts.config import ConfigTrunk
from schemas.configuration import Line, Section
from services.asterisk.config.text import sections_in
from services.asterisk.config.trunks import MEMBERS, NoTrunkError, created, trunks
from services.commands.act import one_pbx

MODELS = ("configurations", "pjsip_registrations")
TRUNKS = """
SELECT c.pbx, c.text, $2::text AS wanted, c.tm_update, r.statuses
FROM configurations c
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(object_name, status) AS statuses FROM pjsip_registrations WHERE pbx = c.pbx
) r ON true
WHERE ($1::text IS NULL OR c.pbx = $1) AND c.name = 'pjsip.conf'
ORDER BY c.pbx
"""
PATH = "/manager/trunks"


class Given(Struct, frozen=True):
    """Members of a trunk; None: not given. A password of eight asterisks is the present one."""

    server_uri: str | None = None
    client_uri: str | None = None
    username: str | None = None
    password: str | None = None
    contact: str | None = None
    context: str | None = None
    hostname: str | None = None
    match: str | None = None

    def members(self) -> dict[str, str]:
        """Return what is given."""
        return {member: value for member in MEMBERS if (value := getattr(self, member)) is not None}


class Created(Given, frozen=True, kw_only=True):
    """Body of a POST."""

    name: Name


def items(rows: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
    return [
        {
            "pbx": row["pbx"],
            **trunk.shown(),
            "status": (row["statuses"] or {}).get(trunk.name, ""),
            "tm_update": row["tm_update"],
        }
        for row in rows
        for trunk in trunks(sections_in(row["text"]))
        if row["wanted"] in {None, trunk.name}
    ]


def everything(request: web.Request) -> Args:
    return (pbx_filter(request), None)


def detail(request: web.Request) -> Args:
    return (pbx_filter(request), storable_text(request.match_info["detail"]))


LIST = View("trunks.list", MODELS, TRUNKS, everything, lambda rows: {"list": items(rows)}, envelope.ENVELOPE)
ONE = View("trunks.get", MODELS, TRUNKS, detail, lambda rows: next(iter(items(rows)), None), envelope.ENVELOPE)


async def cut(request: web.Request, name: str, members: dict[str, str]) -> dict[str, str]:
    """Return the members with a token for the password. Raises ApiError 400 for what no file can hold."""
    (tokens,) = await tokened(
        request, [written("", Section(name, tuple(Line(member, value) for member, value in members.items())))]
    )
    return {line.name: line.value for line in tokens.lines}


async def create(request: web.Request) -> web.Response:
    """POST of a trunk."""
    given = await read_body(request, Created)
    try:
        created([], given.name, given.members())
    except NoTrunkError as error:
        raise ApiError(400, str(error)) from None
    name = await one_pbx(request)
    wanted = ConfigTrunk(given.name, "create", await cut(request, given.name, given.members()))
    return await done(request, name, wanted, where(request, PATH, given.name))


async def update(request: web.Request) -> web.Response:
    """PUT of some members of a trunk."""
    trunk = storable_text(request.match_info["detail"])
    given = await read_body(request, Given)
    name = await one_pbx(request)
    return await done(request, name, ConfigTrunk(trunk, "update", await cut(request, trunk, given.members())))


async def delete(request: web.Request) -> web.Response:
    """DELETE of a trunk, with all its sections that nothing else uses."""
    trunk = storable_text(request.match_info["detail"])
    return await done(request, await one_pbx(request), ConfigTrunk(trunk, "delete"))
