"""The caller: /admin/info (seed 001:1814-1845) and /me/info (seed 001:4235-4299)."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
from aiohttp import web

from api.app_keys import VIEWS
from api.http.auth import USER
from api.http.views.view import Args
from api.jade import envelope
from api.jade.contacts import MODELS as CONTACT_MODELS
from api.jade.contacts import SQL as CONTACTS
from api.jade.contacts import contact
from api.jade.me.chats import chats_of
from api.jade.resource import Resource
from api.jade.users import update_by_uuid
from services.commands.chats import MODELS as CHAT_MODELS
from services.runtime.errors import Invalid

PERSON = """
SELECT uuid, username, name, tm_create, tm_update FROM users WHERE uuid = $1
"""
MODELS = ("users", *CONTACT_MODELS, *CHAT_MODELS)


def own_user(request: web.Request) -> Args:
    """Return the arguments of the caller's own user."""
    return (request[USER].uuid,)


async def update(request: web.Request) -> web.Response:
    """PUT of the caller's own user (one line of text in the seed), with the body of a PUT of a user."""
    return await update_by_uuid(request, request[USER].uuid)


async def me(request: web.Request) -> web.StreamResponse:
    """Return the user with chats and contacts, all of one moment.

    The result joins three views, so it exists for the present only; those three take ``as_of`` and ``wait``.
    """
    if {"as_of", "wait"} & request.query.keys():
        raise Invalid("as_of and wait are for /me/contacts and /me/chats")
    user_uuid = request[USER].uuid

    async def ask(connection: asyncpg.Connection) -> dict[str, Any] | None:
        now = datetime.now(UTC)
        person = await connection.fetchrow(PERSON, user_uuid)
        if person is None:
            return None
        contacts = await connection.fetch(CONTACTS, None, user_uuid)
        chats = await chats_of(connection, user_uuid)
        return {**person, "chats": chats, "contacts": [contact(row, now) for row in contacts]}

    return await request.app[VIEWS].serve_uncached(request, MODELS, ask, envelope.RENDERER)


INFO = Resource("info", PERSON, ("users",), one_by=own_user, pbx=None)
