"""/admin/login (seed 001:1844-1884), and /manager/login and /me/login likewise: tokens."""

import msgspec
from aiohttp import web

from api.app_keys import ACCOUNTS
from api.http.auth import USER, basic_credentials, token_of
from api.http.client_address import client_of
from api.http.errors import ApiError, Handler
from api.jade import envelope
from services.commands.logins import login, logout

PERMISSIONS = {"admin": "admin", "manager": "manager", "me": "user"}
"""Who may log in where. A token is its user's: it is good wherever the user may go, and ends at any of the three."""


def create(permission: str) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        username, password = basic_credentials(request)
        user = await request.app[ACCOUNTS].verify(username, password, client_of(request))
        if not user.may(permission):
            raise ApiError(403, f"permission {permission} is needed")
        return _answer(msgspec.json.encode({"authtoken": await login(request.app, user, client_of(request))}))

    return handler


async def delete(request: web.Request) -> web.Response:
    token = token_of(request)
    assert token is not None
    await logout(request.app, request[USER], token)
    return _answer(None)


def _answer(result: bytes | None) -> web.Response:
    return web.Response(
        body=envelope.success(result),
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "no-store"},
    )
