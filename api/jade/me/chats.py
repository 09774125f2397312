"""/me/chats: the asker's chats, each with the room that it is a view of (seed 001:4052-4177).

A room's ``type`` is 1 for one to one and 2 for a group. Of two users there is one room of type 1 at most: who opens it
again gets 409 while both are in it; else who has left is a member again, in the room with all that was written.
"""

import uuid
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import asyncpg
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from api.http.auth import USER
from api.http.body import Line, Uuid, read_body
from api.http.errors import ApiError
from api.http.views import Args, View, storable_text
from api.jade import envelope
from api.jade.me.routes import known, mine, one_of_mine
from api.jade.writes import answer, where
from schemas.social import SINGLE, ChatChanged, ChatLeft, Kind, Members, RoomJoined, RoomOpened
from services.commands.decide import Decision, decide

MODELS = ("chats", "rooms")
"""What `chats_of` reads."""
MOST_MEMBERS = 1000

CHATS = """
SELECT c.uuid, c.name, c.detail, c.tm_create, nullif(c.tm_update, c.tm_create) AS tm_update,
       r.uuid AS room_uuid, r.kind, r.members, r.uuid_creator, r.uuid_owner,
       r.tm_create AS room_create, nullif(r.tm_update, r.tm_create) AS room_update
FROM chats c
JOIN rooms r ON r.pbx = c.pbx AND r.uuid = c.room_uuid
WHERE c.pbx = coalesce($1::text, '') AND c.user_uuid = $2::text AND ($3::text IS NULL OR c.uuid = $3)
ORDER BY c.tm_create, c.uuid
"""

CHAT = "SELECT room_uuid, name, detail FROM chats WHERE pbx = '' AND user_uuid = $1 AND uuid = $2"

# The room of two users that at least one of them is in, and the asker's ($2) chat there, if any.
SINGLE_ROOM = """
SELECT r.uuid, r.members, (
    SELECT uuid FROM chats WHERE pbx = '' AND user_uuid = $2 AND room_uuid = r.uuid
) AS chat
FROM chats c
JOIN rooms r ON r.pbx = c.pbx AND r.uuid = c.room_uuid
WHERE c.pbx = '' AND c.user_uuid = ANY($1::text[]) AND r.kind = 1 AND r.opened_for @> to_jsonb($1::text[])
ORDER BY r.tm_create
LIMIT 1
"""


class NewChat(Struct):
    """The body of the POST; the asker is a member whether named or not."""

    name: Line
    type: Kind
    members: Annotated[list[Uuid], Meta(max_length=MOST_MEMBERS)]
    detail: Line = ""


class Changes(Struct):
    """The body of the PUT: what the asker calls the chat from now on."""

    name: Line | UnsetType = UNSET
    detail: Line | UnsetType = UNSET


def every(request: web.Request) -> Args:
    """Ask for all chats of the asker's."""
    return (*mine(request), None)


def chat(row: asyncpg.Record) -> dict[str, Any]:
    """Make the wire's object of a row of `CHATS`."""
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


def chats(rows: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
    return [chat(row) for row in rows]


def first(rows: Sequence[asyncpg.Record]) -> dict[str, Any] | None:
    return chat(rows[0]) if rows else None


async def chats_of(connection: asyncpg.Connection, user_uuid: str) -> list[dict[str, Any]]:
    """Return a user's chats as GET /me/chats serves them."""
    return chats(await connection.fetch(CHATS, None, user_uuid, None))


async def chat_of(connection: asyncpg.Connection, request: web.Request) -> asyncpg.Record:
    """Return the asker's chat that the path names. Raises ApiError 404, for another user's too."""
    row = await connection.fetchrow(CHAT, request[USER].uuid, storable_text(request.match_info["detail"]))
    if row is None:
        raise ApiError(404, "no such chat")
    return row


async def create(request: web.Request) -> web.Response:
    """Open a room, or return to the one-to-one room that there is."""
    wanted = await read_body(request, NewChat)
    user = request[USER].uuid
    members = list(dict.fromkeys([user, *(member.lower() for member in wanted.members)]))
    if wanted.type == SINGLE and len(members) != 2:
        raise ApiError(400, "members: a chat of type 1 is with one other user")

    async def decision(connection: asyncpg.Connection) -> Decision:
        await known(connection, members)
        room = await connection.fetchrow(SINGLE_ROOM, members, user) if wanted.type == SINGLE else None
        if room is None:
            made = _chats(members)
            opened = RoomOpened(str(uuid.uuid4()), wanted.type, user, made, wanted.name, wanted.detail)
            return Decision([opened], location=where(request, "/me/chats", made[0][1]))
        back = _chats(member for member in members if member not in room["members"])
        here = where(request, "/me/chats", dict(back).get(user) or room["chat"])
        if not back:
            raise ApiError(409, "there is a chat of type 1 with this user", headers={"Location": here})
        return Decision([RoomJoined(room["uuid"], back, wanted.name, wanted.detail)], location=here)

    return answer(await decide(request, (*MODELS, "users"), decision))


def _chats(members: Iterable[str]) -> Members:
    return tuple((member, str(uuid.uuid4())) for member in members)


async def update(request: web.Request) -> web.Response:
    """Call the chat something else; the other members' chats keep their names."""
    wanted = await read_body(request, Changes)
    if wanted.name is UNSET and wanted.detail is UNSET:
        raise ApiError(400, "name or detail is needed")

    async def decision(connection: asyncpg.Connection) -> Decision:
        row = await chat_of(connection, request)
        name = row["name"] if wanted.name is UNSET else wanted.name
        detail = row["detail"] if wanted.detail is UNSET else wanted.detail
        if (name, detail) == (row["name"], row["detail"]):
            return Decision([])
        return Decision([ChatChanged(request.match_info["detail"], request[USER].uuid, name, detail)])

    return answer(await decide(request, ("chats",), decision))


async def delete(request: web.Request) -> web.Response:
    """Leave the room; it goes with its last member."""

    async def decision(connection: asyncpg.Connection) -> Decision:
        row = await chat_of(connection, request)
        return Decision([ChatLeft(request.match_info["detail"], request[USER].uuid, row["room_uuid"])])

    return answer(await decide(request, MODELS, decision))


LIST = View("chats.list", MODELS, CHATS, every, chats, envelope.ENVELOPE)
ONE = View("chats.get", MODELS, CHATS, one_of_mine, first, envelope.ENVELOPE)
