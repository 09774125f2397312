"""Authentication of requests by token (query parameter, Bearer header or cookie) or HTTP Basic; permissions."""

import base64
import binascii
from collections.abc import Awaitable, Callable

from aiohttp import web

from api.app_keys import ACCOUNTS, CHECKPOINTS
from api.http.access import ACCESS
from api.http.errors import ApiError, Handler
from services.accounts.accounts import Account, authorized
from services.projector.checkpoints.checkpoints import UnreadyError

Authenticate = Callable[[web.Request], Awaitable[Account | None]]
"""Returns the user of a request, None if it carries no valid credentials."""

USER = web.RequestKey("user", Account)
PERMISSION = web.RequestKey("needed", str)


def token_of(request: web.Request) -> str | None:
    """Return the token of the request; of several, the most explicit one."""
    token = request.query.get("authtoken")
    if token is None:
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        token = value.strip() if kind.lower() == "bearer" else request.cookies.get("authtoken")
    return token


def is_by_cookie(request: web.Request) -> bool:
    """Return whether the effective token is that of the cookie, which a browser adds to requests of any site's page."""
    bearer = request.headers.get("Authorization", "").partition(" ")[0].lower() == "bearer"
    return "authtoken" in request.cookies and "authtoken" not in request.query and not bearer


async def identify(request: web.Request) -> Account | None:
    """Return the user of the token, None if it is absent, unknown or expired.

    Raises UnreadyError if PostgreSQL does not answer.
    """
    token = token_of(request)
    if not token:
        return None
    accounts = request.app[ACCOUNTS]
    user = accounts.user_of_token(token)
    if user is None:
        # Another process may have just issued it, or this process has not read any tokens yet.
        refreshed = await request.app[CHECKPOINTS].refresh()
        user = accounts.user_of_token(token)
        if user is None and not refreshed:
            raise UnreadyError("the database does not answer")
    return user


def require_permission(
    permission: str, handler: Handler, authenticate: Authenticate = identify, *, is_watched: bool = True
) -> Handler:
    """Return a handler that only users with the permission reach.

    A read that is watched ends with 401 or 403 when the token ends or its user loses the permission. A write
    continues: it was allowed when the request arrived, and decisions check the permission once more.
    """

    async def guarded(request: web.Request) -> web.StreamResponse:
        request[USER] = authorized(await authenticate(request), permission)
        request[PERMISSION] = permission
        if not is_watched or request.method not in {"GET", "HEAD"}:
            return await handler(request)
        return await request.app[ACCESS].watch(token_of(request) or "", permission, handler(request))

    return guarded


def requester_uuid(request: web.Request) -> str:
    """Return the uuid of the authenticated user, empty for a public view."""
    user = request.get(USER)
    return user.uuid if user else ""


def basic_credentials(request: web.Request) -> tuple[str, str]:
    """Return the name and the password of HTTP Basic. Raises ApiError 401."""
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
