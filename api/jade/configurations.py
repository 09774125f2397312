"""/admin/{dialplan,park,pjsip,queue}/configurations: a file's text, and its earlier versions (seed 001:1623-1692)."""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.acting import STATUS, act, one_pbx
from api.bodies import body
from api.deciding import Decision, decide
from api.errors import ApiError
from api.etags import entity_tags
from api.freshness import read
from api.jade.resource import Resource, admin
from api.jade.writing import SEEN_SECONDS, acts, answer, writes
from api.keys import FRESHNESS, POOL
from api.views import Args, checked, pbx
from schemas.acts import Act
from schemas.acts.config import ConfigReplace
from schemas.configuration import DIALPLAN, PARKING, PJSIP, QUEUES, ConfigurationDeleted, Section
from services import database
from services.configuration import secrets
from services.configuration.checks import check
from services.configuration.text import ConfigTextError, Numbered, digest, parse

FAMILIES = {"dialplan": DIALPLAN, "park": PARKING, "pjsip": PJSIP, "queue": QUEUES}
MODELS = ("configurations",)

CONFIGURATIONS = """
SELECT pbx, name, text AS data, since, tm_update
FROM configurations
WHERE ($1::text IS NULL OR pbx = $1) AND ($2::text IS NULL OR name = $2) AND file = $3
ORDER BY pbx, name
"""
VERSION = "SELECT pbx FROM configurations WHERE ($1::text IS NULL OR pbx = $1) AND name = $2 AND file = $3 ORDER BY pbx"
TEXT = "SELECT text FROM configurations WHERE pbx = $1 AND name = $2"


class Text(Struct, frozen=True):
    """Body of a PUT."""

    data: str


def everything(request: web.Request, file: str) -> Args:
    return (pbx(request), None, file)


def detail(request: web.Request, file: str) -> Args:
    return (pbx(request), checked(request.match_info["detail"]), file)


async def base(request: web.Request, name: str, file: str) -> str:
    """Return the digest of the text that the request's If-Match knows, empty without one. Raises ApiError 409."""
    tags = entity_tags(request, "If-Match")
    if tags is None:
        return ""
    # One moment of both: a newer text under an older tag would let the client replace what it has not read.
    async with request.app[POOL].acquire() as connection, database.snapshot(connection):
        reading = await read(connection)
        text = await connection.fetchval(TEXT, name, file)
    if text is None or not tags & {"*", reading.tag(MODELS)}:
        raise ApiError(409, f"{file} is not as it was when you read it", "conflict")
    return digest(text)


def parsed(file: str, text: str) -> Numbered:
    """Return what a text says. Raises ApiError 400 that names the line."""
    try:
        found = parse(text)
        check(file, found)
    except ConfigTextError as error:
        raise ApiError(400, str(error), "invalid") from None
    return found


async def tokened(request: web.Request, sections: Sequence[Section]) -> tuple[Section, ...]:
    """Return the sections with tokens for their secret values, which wait beside the log."""
    made, values = secrets.cut(sections)
    await secrets.keep(request.app[POOL], values)
    return tuple(made)


async def done(request: web.Request, name: str, wanted: Act, location: str = "") -> web.Response:
    """Have an act done at a PBX, and answer when the views show what stands in the file then.

    An act that fails has read the file too, and may have found the edit of somebody else.
    """
    position = 0
    try:
        decided = await act(request, name, wanted, location)
        position = decided.position
        return answer(decided)
    except ApiError as error:
        if error.code in STATUS and error.status not in {503, 504}:  # those are late already, or recorded nothing
            position = int(error.headers["X-Ledger-Position"])
        raise
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEEN_SECONDS):
                await request.app[FRESHNESS].folded(MODELS, position)


async def update(request: web.Request, file: str) -> web.Response:
    """PUT of a file's whole text."""
    args = detail(request, file)
    if args[1] != file:
        version = await request.app[POOL].fetchval(VERSION, *args)
        raise ApiError(404, "no such thing") if version is None else ApiError(409, "an earlier version stays as it was")
    given = await body(request, Text)
    found = parsed(file, given.data)
    name = await one_pbx(request)
    known = await base(request, name, file)
    return await done(request, name, ConfigReplace(file, await tokened(request, found.sections), known))


async def delete(request: web.Request, file: str) -> web.Response:
    """DELETE of an earlier version: it is listed no more."""
    args = detail(request, file)
    if args[1] == file:
        raise ApiError(409, "only earlier versions can be deleted")

    async def decision(connection: asyncpg.Connection) -> Decision:
        found = await connection.fetchval(VERSION, *args)
        if found is None:
            raise ApiError(404, "no such thing")
        return Decision([ConfigurationDeleted(file, args[1])], pbx=found)

    return answer(await decide(request, MODELS, decision))


def family(name: str, file: str) -> list[web.RouteDef]:
    """Routes of one file."""
    path = f"{name}/configurations"
    resource = Resource(
        f"{name}.configurations",
        CONFIGURATIONS,
        MODELS,
        all_by=partial(everything, file=file),
        one_by=partial(detail, file=file),
    )
    return [
        *admin(resource, path),
        *acts("PUT", f"/admin/{path}/{{detail}}", partial(update, file=file)),
        *writes("DELETE", f"/admin/{path}/{{detail}}", partial(delete, file=file)),
    ]


ROUTES: list[web.RouteDef] = [route for name, file in FAMILIES.items() for route in family(name, file)]
