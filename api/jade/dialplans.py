"""/admin/dialplan/adpmas and adps: masters of async dialplans and their commands (seed 001:1197-1615).

The ``uuid`` in the body of a PUT (seed 001:1374) is ignored: the path names the object.
"""

from typing import Annotated

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from api.http.body import Line, Name, Uuid, read_body
from api.http.idempotency import command_args
from api.http.views.view import storable_text
from api.jade.resource import Resource
from api.jade.writes import write_response
from services.commands.dialplans import (
    CommandChange,
    MasterChange,
    NewCommand,
    change_command,
    change_master,
    create_command,
    create_master,
    delete_command,
    delete_master,
)

ADPMAS_SQL = """
SELECT uuid, name, detail, tm_create, changed AS tm_update
FROM adpmas
WHERE $1::text IS NULL OR uuid = $1
ORDER BY adpmas.tm_create, uuid
"""

ADPS_SQL = """
SELECT uuid, dpma_uuid, sequence, name, detail, command, tm_create, changed AS tm_update
FROM adps
WHERE $1::text IS NULL OR uuid = $1
ORDER BY adps.tm_create, uuid
"""

Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class MasterPost(Struct):
    """Body of a POST of a master."""

    name: Name
    detail: Line | None = None


class MasterPut(Struct):
    """Body of a PUT of a master; an absent member stays."""

    name: Name | UnsetType = UNSET
    detail: Line | UnsetType | None = UNSET


class CommandPost(Struct):
    """Body of a POST of a command."""

    name: Name
    dpma_uuid: Uuid
    sequence: Number
    detail: Line | None = None
    command: str | None = None


class CommandPut(Struct):
    """Body of a PUT of a command; an absent member stays."""

    name: Name | UnsetType = UNSET
    dpma_uuid: Uuid | UnsetType = UNSET
    sequence: Number | UnsetType = UNSET
    detail: Line | UnsetType | None = UNSET
    command: str | UnsetType | None = UNSET


def uuid_of(request: web.Request) -> str:
    return storable_text(request.match_info["detail"])


async def post_master(request: web.Request) -> web.Response:
    body = await read_body(request, MasterPost)
    return write_response(await create_master(*await command_args(request), body.name, body.detail, request.path))


async def put_master(request: web.Request) -> web.Response:
    body = await read_body(request, MasterPut)
    change = MasterChange(body.name, body.detail)
    return write_response(await change_master(*await command_args(request), uuid_of(request), change))


async def remove_master(request: web.Request) -> web.Response:
    return write_response(await delete_master(*await command_args(request), uuid_of(request)))


async def post_command(request: web.Request) -> web.Response:
    body = await read_body(request, CommandPost)
    new = NewCommand(body.dpma_uuid.lower(), body.sequence, body.name, body.detail, body.command)
    return write_response(await create_command(*await command_args(request), new, request.path))


async def put_command(request: web.Request) -> web.Response:
    body = await read_body(request, CommandPut)
    master = body.dpma_uuid if body.dpma_uuid is UNSET else body.dpma_uuid.lower()
    change = CommandChange(master, body.sequence, body.name, body.detail, body.command)
    return write_response(await change_command(*await command_args(request), uuid_of(request), change))


async def remove_command(request: web.Request) -> web.Response:
    return write_response(await delete_command(*await command_args(request), uuid_of(request)))


ADPMAS = Resource("adpmas", ADPMAS_SQL, ("adpmas",), pbx=None)
ADPS = Resource("adps", ADPS_SQL, ("adps",), pbx=None)
