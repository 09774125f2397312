"""/admin/dialplan/adpmas and adps: masters of async dialplans and their commands (seed 001:1197-1615).

What a master does to a channel is in services/async_agi. A master's end ends its commands; a run under way goes on.
The ``uuid`` in the body of a PUT (seed 001:1374) is passed over: the path says which one it is.
"""

import uuid
from typing import Annotated, Any

import asyncpg
import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from api.http.body import Line, Name, Uuid, read_body
from api.http.errors import ApiError
from api.http.views import Args, storable_text
from api.jade.resource import Resource
from api.jade.writes import answer, where
from schemas.adps import AdpChanged, AdpCreated, AdpDeleted, AdpmaChanged, AdpmaCreated, AdpmaDeleted
from services.commands.decide import Decide, Decision, decide

MODELS = ("adpmas", "adps")
MASTERS, COMMANDS = "/admin/dialplan/adpmas", "/admin/dialplan/adps"
COMMAND_BYTES = 990
"""What fits into a line of AMI: over 1,023 bytes with the header's name Asterisk 16 and 22 take it for no action."""

# They are no PBX's, so $1 is always NULL: see `everywhere`.
ADPMAS_SQL = """
SELECT uuid, name, detail, tm_create, changed AS tm_update
FROM adpmas
WHERE $1::text IS NULL AND ($2::text IS NULL OR uuid = $2)
ORDER BY adpmas.tm_create, uuid
"""

ADPS_SQL = """
SELECT uuid, dpma_uuid, sequence, name, detail, command, tm_create, changed AS tm_update
FROM adps
WHERE $1::text IS NULL AND ($2::text IS NULL OR uuid = $2)
ORDER BY adps.tm_create, uuid
"""

MASTER = "SELECT name, detail FROM adpmas WHERE pbx = '' AND uuid = $1"
COMMAND = "SELECT dpma_uuid, sequence, name, detail, command FROM adps WHERE pbx = '' AND uuid = $1"
TAKEN = "SELECT true FROM adps WHERE pbx = '' AND dpma_uuid = $1 AND sequence = $2 AND uuid <> $3"

Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class NewMaster(Struct):
    """Body of a POST."""

    name: Name
    detail: Line | None = None


class MasterChange(Struct):
    """Body of a PUT; what is not there stays as it is."""

    name: Name | UnsetType = UNSET
    detail: Line | UnsetType | None = UNSET


class NewCommand(Struct):
    """Body of a POST."""

    name: Name
    dpma_uuid: Uuid
    sequence: Number
    detail: Line | None = None
    command: str | None = None


class CommandChange(Struct):
    """Body of a PUT; what is not there stays as it is."""

    name: Name | UnsetType = UNSET
    dpma_uuid: Uuid | UnsetType = UNSET
    sequence: Number | UnsetType = UNSET
    detail: Line | UnsetType | None = UNSET
    command: str | UnsetType | None = UNSET


def everywhere(_request: web.Request) -> Args:
    return (None, None)


def one(request: web.Request) -> Args:
    return (None, named(request))


def named(request: web.Request) -> str:
    return storable_text(request.match_info["detail"])


async def existing(connection: asyncpg.Connection, sql: str, which: str) -> dict[str, Any]:
    """Return what there is. Raises ApiError 404."""
    row = await connection.fetchrow(sql, which)
    if row is None:
        raise ApiError(404, "no such thing")
    return dict(row)


def merged(there: dict[str, Any], change: Struct) -> dict[str, Any]:
    """Return what is there with what is new in the body."""
    new = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
    return there | new


def deleting(sql: str, which: str, fact: AdpmaDeleted | AdpDeleted) -> Decide:
    async def decision(connection: asyncpg.Connection) -> Decision:
        await existing(connection, sql, which)
        return Decision([fact])

    return decision


async def decided(request: web.Request, decision: Decide) -> web.Response:
    return answer(await decide(request, MODELS, decision))


async def create_master(request: web.Request) -> web.Response:
    wanted = await read_body(request, NewMaster)
    made = AdpmaCreated(str(uuid.uuid4()), wanted.name, wanted.detail)

    async def decision(_connection: asyncpg.Connection) -> Decision:
        return Decision([made], location=where(request, MASTERS, made.uuid))

    return await decided(request, decision)


async def update_master(request: web.Request) -> web.Response:
    which, change = named(request), await read_body(request, MasterChange)

    async def decision(connection: asyncpg.Connection) -> Decision:
        there = await existing(connection, MASTER, which)
        new = merged(there, change)
        return Decision([AdpmaChanged(which, **new)] if new != there else [])

    return await decided(request, decision)


async def delete_master(request: web.Request) -> web.Response:
    which = named(request)
    return await decided(request, deleting(MASTER, which, AdpmaDeleted(which)))


def sendable(command: str | UnsetType | None) -> None:
    """Raise ApiError 400 for what could not be sent to a PBX as one line."""
    if isinstance(command, str):
        if "\r" in command or "\n" in command:
            raise ApiError(400, "CR and LF cannot be part of a command")
        if len(command.encode()) > COMMAND_BYTES:
            raise ApiError(400, f"a command has at most {COMMAND_BYTES} bytes of UTF-8")


async def placed(connection: asyncpg.Connection, command: AdpCreated | AdpChanged) -> None:
    """Raise ApiError 404 if there is no such master, 409 if another of its commands has this sequence."""
    if await connection.fetchrow(MASTER, command.dpma_uuid) is None:
        raise ApiError(404, "dpma_uuid: no such adpma")
    if await connection.fetchval(TAKEN, command.dpma_uuid, command.sequence, command.uuid):
        raise ApiError(409, f"another adp of this adpma has sequence {command.sequence}")


async def create_command(request: web.Request) -> web.Response:
    wanted = await read_body(request, NewCommand)
    sendable(wanted.command)
    made = AdpCreated(
        str(uuid.uuid4()), wanted.dpma_uuid.lower(), wanted.sequence, wanted.name, wanted.detail, wanted.command
    )

    async def decision(connection: asyncpg.Connection) -> Decision:
        await placed(connection, made)
        return Decision([made], location=where(request, COMMANDS, made.uuid))

    return await decided(request, decision)


async def update_command(request: web.Request) -> web.Response:
    which, change = named(request), await read_body(request, CommandChange)
    sendable(change.command)

    async def decision(connection: asyncpg.Connection) -> Decision:
        there = await existing(connection, COMMAND, which)
        new = merged(there, change)
        new["dpma_uuid"] = new["dpma_uuid"].lower()
        made = AdpChanged(which, **new)
        await placed(connection, made)
        return Decision([made] if new != there else [])

    return await decided(request, decision)


async def delete_command(request: web.Request) -> web.Response:
    which = named(request)
    return await decided(request, deleting(COMMAND, which, AdpDeleted(which)))


ADPMAS = Resource("adpmas", ADPMAS_SQL, ("adpmas",), all_by=everywhere, one_by=one)
ADPS = Resource("adps", ADPS_SQL, ("adps",), all_by=everywhere, one_by=one)
