"""/admin/login: tokens (seed 001:1844-1884)."""

import msgspec
from aiohttp import web

from api import accounts
from api.auth import USER, basic, needs, token_of
from api.errors import ApiError
from api.jade import envelope
from api.keys import ACCOUNTS, FACTS, FRESHNESS


async def create(request: web.Request) -> web.Response:
    username, password = basic(request)
    user = await request.app[ACCOUNTS].verify(username, password, request.remote or "")
    if not user.may("admin"):
        raise ApiError(403, "permission admin is needed")
    token = await accounts.login(request.app[ACCOUNTS], request.app[FACTS], request.app[FRESHNESS], user)
    return _answer(msgspec.json.encode({"authtoken": token}))


async def delete(request: web.Request) -> web.Response:
    token = token_of(request)
    assert token is not None
    await accounts.logout(request.app[FACTS], request.app[FRESHNESS], request[USER], token)
    return _answer(None)


def _answer(result: bytes | None) -> web.Response:
    return web.Response(
        body=envelope.success(result),
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "no-store"},
    )


ROUTES = [
    route
    for path in ("/v1/admin/login", "/admin/login")
    for route in (web.post(path, create), web.delete(path, needs("admin", delete)))
]
