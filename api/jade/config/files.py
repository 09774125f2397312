"""/admin/{dialplan,park,pjsip,queue}/configurations: a file's text, and its earlier versions (seed 001:1623-1692)."""

from functools import partial

from aiohttp import web
from msgspec import Struct

from api.http.body import read_body
from api.http.idempotency import command_args
from api.http.views.etags import entity_tags
from api.http.views.view import Args, pbx_filter
from api.jade.resource import Resource, detail, everything
from api.jade.writes import write_response
from schemas.configuration import DIALPLAN, PARKING, PJSIP, QUEUES
from services.commands.config_files import MODELS, delete_version, replace_file, require_present

FAMILIES = {"dialplan": DIALPLAN, "park": PARKING, "pjsip": PJSIP, "queue": QUEUES}

CONFIGURATIONS = """
SELECT pbx, name, text AS data, since, tm_update
FROM configurations
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR name = $2) AND file = $3
ORDER BY pbx, name
"""


class PutBody(Struct, frozen=True):
    """Body of a PUT."""

    data: str


def all_args(request: web.Request, file: str) -> Args:
    return (*everything(request), file)


def one_args(request: web.Request, file: str) -> Args:
    return (*detail(request), file)


async def update(request: web.Request, file: str) -> web.Response:
    """PUT of a file's whole text."""
    pbx, version = pbx_filter(request), *detail(request)
    context, command = await command_args(request)
    # Before the body is read: a version that cannot be replaced is 404 or 409, whatever the body is.
    await require_present(context, file, pbx=pbx, version=version)
    outcome = await replace_file(
        context,
        command,
        file,
        pbx=pbx,
        version=version,
        text=(await read_body(request, PutBody)).data,
        tags=entity_tags(request, "If-Match"),
    )
    return write_response(outcome)


async def delete(request: web.Request, file: str) -> web.Response:
    """DELETE of an earlier version from the list."""
    pbx, version = pbx_filter(request), *detail(request)
    return write_response(await delete_version(*await command_args(request), file, pbx=pbx, version=version))


def resource_of(family: str, file: str) -> Resource:
    """Return the resource of a file's versions."""
    return Resource(
        f"{family}.configurations",
        CONFIGURATIONS,
        MODELS,
        all_by=partial(all_args, file=file),
        one_by=partial(one_args, file=file),
    )
