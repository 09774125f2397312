"""/manager/trunks: PJSIP registrations with their sections (seed 001:3811-3827, which shows no members)."""

from collections.abc import Sequence
from typing import Any

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.http.body import Name, read_body
from api.http.idempotency import command_args
from api.http.views.view import View, pbx_filter, storable_text
from api.jade import envelope
from api.jade.resource import detail, everything
from api.jade.writes import location_of, write_response
from services.asterisk.config.text import sections_in
from services.asterisk.config.trunks import TRUNK_MEMBERS, trunks
from services.commands.trunks import create_trunk, delete_trunk, update_trunk

MODELS = ("configurations", "pjsip_registrations")
TRUNKS = """
SELECT c.pbx, c.text, $2::text AS trunk, c.tm_update, r.statuses
FROM configurations c
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(object_name, status) AS statuses FROM pjsip_registrations WHERE pbx = c.pbx
) r ON true
WHERE ($1::text IS NULL OR c.pbx = $1) AND c.name = 'pjsip.conf'
ORDER BY c.pbx
"""
PATH = "/manager/trunks"


class PutBody(Struct, frozen=True):
    """Members of a trunk; None leaves a value. A password of eight asterisks is the present one."""

    server_uri: str | None = None
    client_uri: str | None = None
    username: str | None = None
    password: str | None = None
    contact: str | None = None
    context: str | None = None
    hostname: str | None = None
    match: str | None = None

    def members(self) -> dict[str, str]:
        """Return the members in the body."""
        return {member: value for member in TRUNK_MEMBERS if (value := getattr(self, member)) is not None}


class PostBody(PutBody, frozen=True, kw_only=True):
    """Body of a POST."""

    name: Name


def items(rows: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
    return [
        {
            "pbx": row["pbx"],
            **trunk.members(),
            "status": (row["statuses"] or {}).get(trunk.name, ""),
            "tm_update": row["tm_update"],
        }
        for row in rows
        for trunk in trunks(sections_in(row["text"]))
        if row["trunk"] in {None, trunk.name}
    ]


LIST = View("trunks.list", MODELS, TRUNKS, everything, lambda rows, _: {"list": items(rows)}, envelope.RENDERER)
ONE = View("trunks.get", MODELS, TRUNKS, detail, lambda rows, _: next(iter(items(rows)), None), envelope.RENDERER)


async def create(request: web.Request) -> web.Response:
    """POST of a trunk."""
    body = await read_body(request, PostBody)
    location = location_of(request, PATH, body.name)
    outcome = await create_trunk(
        *await command_args(request), body.name, body.members(), pbx=pbx_filter(request), location=location
    )
    return write_response(outcome)


async def update(request: web.Request) -> web.Response:
    """PUT of some members of a trunk."""
    name = storable_text(request.match_info["detail"])
    members = (await read_body(request, PutBody)).members()
    return write_response(await update_trunk(*await command_args(request), name, members, pbx_filter(request)))


async def delete(request: web.Request) -> web.Response:
    """DELETE of a trunk, with all its sections that nothing else uses."""
    name = storable_text(request.match_info["detail"])
    return write_response(await delete_trunk(*await command_args(request), name, pbx_filter(request)))
