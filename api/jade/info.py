"""Who is asking: /admin/info (seed 001:1814-1845) and /me/info (seed 001:4235-4299)."""

from typing import Any

import asyncpg
from aiohttp import web

from api.app_keys import VIEWS
from api.http.auth import USER
from api.http.errors import ApiError
from api.http.views import Args
from api.jade import envelope
from api.jade.contacts import MODELS as CONTACT_MODELS
from api.jade.contacts import SQL as CONTACTS
from api.jade.contacts import contact
from api.jade.me.chats import MODELS as CHAT_MODELS
from api.jade.me.chats import chats_of
from api.jade.resource import Resource
from api.jade.users import change

PERSON = """
SELECT uuid, username, name, tm_create, tm_update FROM users WHERE $1::text IS NULL AND uuid = $2
"""
MODELS = ("users", *CONTACT_MODELS, *CHAT_MODELS)


def myself(request: web.Request) -> Args:
    """Ask for who asks."""
    return (None, request[USER].uuid)


async def update(request: web.Request) -> web.Response:
    """PUT of one's own user (one line of text in the seed): as PUT of a user."""
    return await change(request, request[USER].uuid)


async def me(request: web.Request) -> web.StreamResponse:
    """Tell the user with chats and contacts, all of one moment.

    It is put together of three views, so it is told as it is now only: those three take ``as_of`` and ``wait``.
    """
    if {"as_of", "wait"} & request.query.keys():
        raise ApiError(400, "as_of and wait are for /me/contacts and /me/chats")
    user_uuid = request[USER].uuid

    async def ask(connection: asyncpg.Connection) -> dict[str, Any] | None:
        person = await connection.fetchrow(PERSON, None, user_uuid)
        if person is None:
            return None
        contacts = await connection.fetch(CONTACTS, None, None, user_uuid)
        chats = await chats_of(connection, user_uuid)
        return {**person, "chats": chats, "contacts": [contact(row) for row in contacts]}

    return await request.app[VIEWS].once(request, MODELS, ask, envelope.ENVELOPE)


INFO = Resource("info", PERSON, ("users",), one_by=myself)
