"""Handlers of views."""

from aiohttp import web

from api.app_keys import VIEWS
from api.http.auth import requester_uuid
from api.http.errors import Handler
from api.http.views.view import View


def view_handler(view: View) -> Handler:
    """Return the handler that serves a view."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return await request.app[VIEWS].serve(view, request, requester_uuid(request))

    return handler


def vary_by_user(handler: Handler) -> Handler:
    """Return a handler whose responses a cache must not give to another user.

    Two users of one browser have the same paths, and may have the same ETags.
    """

    async def varying(request: web.Request) -> web.StreamResponse:
        response = await handler(request)
        response.headers["Vary"] = "Authorization, Cookie"
        return response

    return varying
