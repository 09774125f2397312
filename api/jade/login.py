"""/admin/login (seed 001:1844-1884), /manager/login and /me/login: issue and end tokens."""

import msgspec
from aiohttp import web

from api.app_keys import COMMANDS
from api.http.auth import USER, basic_credentials, token_of
from api.http.connections.client_address import client_of
from api.http.errors import Handler
from api.jade import envelope
from services.commands.logins import login, logout


def create(permission: str) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        username, password = basic_credentials(request)
        client = client_of(request)
        token = await login(request.app[COMMANDS], username, password, permission=permission, client=client)
        return _response(msgspec.json.encode({"authtoken": token}))

    return handler


async def delete(request: web.Request) -> web.Response:
    token = token_of(request)
    assert token is not None
    await logout(request.app[COMMANDS], request[USER], token)
    return _response(None)


def _response(result: bytes | None) -> web.Response:
    return web.Response(
        body=envelope.success(result),
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "no-store"},
    )
