"""Tokens on requests: query parameter, Bearer header or cookie, in every dialect; permissions by route."""

import base64
import binascii

from aiohttp import web

from api.accounts import User
from api.errors import ApiError, Handler
from api.freshness import UnreadyError
from api.keys import ACCOUNTS, FRESHNESS

USER = web.RequestKey("user", User)
NEEDED = web.RequestKey("needed", str)


def token_of(request: web.Request) -> str | None:
    """Return the token that the request carries; of several the most explicit one."""
    token = request.query.get("authtoken")
    if token is None:
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        token = value.strip() if kind.lower() == "bearer" else request.cookies.get("authtoken")
    return token


async def identify(request: web.Request) -> User | None:
    """Return who is asking, None if the token is absent, unknown or expired. Raises UnreadyError if nobody can tell."""
    token = token_of(request)
    if not token:
        return None
    accounts = request.app[ACCOUNTS]
    user = accounts.owner(token)
    if user is None:
        # Another process may have issued it a moment ago, or this one has not read any yet.
        refreshed = await request.app[FRESHNESS].refresh()
        user = accounts.owner(token)
        if user is None and not refreshed:
            raise UnreadyError("the database does not answer")
    return user


def needs(permission: str, handler: Handler) -> Handler:
    """Let only users with the permission reach the handler."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        request[USER] = _allowed(await identify(request), permission)
        request[NEEDED] = permission
        return await handler(request)

    return guarded


def still(request: web.Request) -> User:
    """Return who is asking, in a decision on ``users`` and ``tokens``: as they are after all earlier decisions.

    Raises ApiError 401 or 403 when one of those has ended the token, or taken the permission.
    """
    return _allowed(request.app[ACCOUNTS].owner(token_of(request) or ""), request[NEEDED])


def _allowed(user: User | None, permission: str) -> User:
    if user is None:
        raise ApiError(401, "log in first", headers={"WWW-Authenticate": "Bearer"})
    if not user.may(permission):
        raise ApiError(403, f"permission {permission} is needed", "access-denied")
    return user


def basic(request: web.Request) -> tuple[str, str]:
    """Return name and password of HTTP Basic. Raises ApiError 401."""
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    try:
        text = base64.b64decode(value, validate=True).decode("utf-8")
    except (ValueError, binascii.Error):
        text = ""
    name, colon, password = text.partition(":")
    if kind.lower() != "basic" or not colon:
        raise ApiError(
            401, "HTTP Basic with user name and password", headers={"WWW-Authenticate": 'Basic realm="ringledger"'}
        )
    return name, password
