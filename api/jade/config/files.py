"""/admin/{dialplan,park,pjsip,queue}/configurations: a file's text, and its earlier versions (seed 001:1623-1692)."""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial

import asyncpg
from aiohttp import web
from msgspec import Struct

from api.app_keys import FRESHNESS, POOL
from api.http.body import read_body
from api.http.errors import ApiError
from api.http.etags import entity_tags
from api.http.views import Args, pbx_filter, storable_text
from api.jade.resource import Resource
from api.jade.writes import SEEN_SECONDS, answer
from schemas.acts import Act
from schemas.acts.config import ConfigReplace
from schemas.configuration import DIALPLAN, PARKING, PJSIP, QUEUES, ConfigurationDeleted, Section
from services.asterisk.config import secrets
from services.asterisk.config.checks import check
from services.asterisk.config.text import ConfigTextError, Numbered, digest, parse
from services.commands.act import STATUS, act, one_pbx
from services.commands.decide import Decision, decide

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
    return (pbx_filter(request), None, file)


def detail(request: web.Request, file: str) -> Args:
    return (pbx_filter(request), storable_text(request.match_info["detail"]), file)


async def base(request: web.Request, name: str, file: str) -> str:
    """Return the digest of the text that the request's If-Match knows, empty without one. Raises ApiError 409."""
    tags = entity_tags(request, "If-Match")
    if tags is None:
        return ""
    freshness = request.app[FRESHNESS]
    await freshness.refresh()
    text = await request.app[POOL].fetchval(TEXT, name, file)
    if text is None or not tags & {"*", freshness.reading.tag(MODELS)}:
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
    given = await read_body(request, Text)
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


def resource_of(family: str, file: str) -> Resource:
    """Return the resource of a file's versions."""
    return Resource(
        f"{family}.configurations",
        CONFIGURATIONS,
        MODELS,
        all_by=partial(everything, file=file),
        one_by=partial(detail, file=file),
    )
