"""/me/chats: the caller's chats, each with its room (seed 001:4052-4177).

A room's ``type`` is 1 for one to one and 2 for a group.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import asyncpg
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from api.http.body import Line, Uuid, read_body
from api.http.idempotency import command_args
from api.http.views.view import Args, View, storable_text
from api.jade import envelope
from api.jade.me.args import own_detail, own_list
from api.jade.writes import write_response
from schemas.social import Kind
from services.commands.chats import MODELS, leave_chat, open_chat, rename_chat

MAX_MEMBERS = 1000

CHATS = """
SELECT c.uuid, c.name, c.detail, c.tm_create, nullif(c.tm_update, c.tm_create) AS tm_update,
       r.uuid AS room_uuid, r.kind, r.members, r.uuid_creator, r.uuid_owner,
       r.tm_create AS room_create, nullif(r.tm_update, r.tm_create) AS room_update
FROM chats c
JOIN rooms r ON r.pbx = c.pbx AND r.uuid = c.room_uuid
WHERE c.pbx = '' AND c.user_uuid = $1::text AND ($2::text IS NULL OR c.uuid = $2)
ORDER BY c.tm_create, c.uuid
"""


class PostBody(Struct):
    """Body of a POST; the caller is a member whether named or not."""

    name: Line
    type: Kind
    members: Annotated[list[Uuid], Meta(max_length=MAX_MEMBERS)]
    detail: Line = ""


class PutBody(Struct):
    """Body of a PUT: the caller's new names of the chat."""

    name: Line | UnsetType = UNSET
    detail: Line | UnsetType = UNSET


def every_chat(request: web.Request) -> Args:
    """Return the arguments of the list of all chats of the caller."""
    return (*own_list(request), None)


def chat(row: asyncpg.Record) -> dict[str, Any]:
    """Return the wire's object of a row of `CHATS`."""
    return {
        "uuid": row["uuid"],
        "name": row["name"],
        "detail": row["detail"],
        "tm_create": row["tm_create"],
        "tm_update": row["tm_update"],
        "room": {
            "uuid": row["room_uuid"],
            "type": row["kind"],
            "members": row["members"],
            "uuid_creator": row["uuid_creator"],
            "uuid_owner": row["uuid_owner"],
            "tm_create": row["room_create"],
            "tm_update": row["room_update"],
        },
    }


def chats(rows: Sequence[asyncpg.Record], _now: datetime | None = None) -> list[dict[str, Any]]:
    return [chat(row) for row in rows]


def first(rows: Sequence[asyncpg.Record], _now: datetime) -> dict[str, Any] | None:
    return chat(rows[0]) if rows else None


async def chats_of(connection: asyncpg.Connection, user_uuid: str) -> list[dict[str, Any]]:
    """Return a user's chats as GET /me/chats serves them."""
    return chats(await connection.fetch(CHATS, user_uuid, None))


async def create(request: web.Request) -> web.Response:
    body = await read_body(request, PostBody)
    outcome = await open_chat(
        *await command_args(request),
        body.type,
        [member.lower() for member in body.members],
        name=body.name,
        detail=body.detail,
        collection=request.path,
    )
    return write_response(outcome)


async def update(request: web.Request) -> web.Response:
    body = await read_body(request, PutBody)
    name, detail = (None if value is UNSET else value for value in (body.name, body.detail))
    chat_uuid = storable_text(request.match_info["detail"])
    return write_response(await rename_chat(*await command_args(request), chat_uuid, name=name, detail=detail))


async def delete(request: web.Request) -> web.Response:
    chat_uuid = storable_text(request.match_info["detail"])
    return write_response(await leave_chat(*await command_args(request), chat_uuid))


LIST = View("chats.list", MODELS, CHATS, every_chat, chats, envelope.RENDERER, pbx=None)
ONE = View("chats.get", MODELS, CHATS, own_detail, first, envelope.RENDERER, pbx=None)
