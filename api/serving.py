"""From a view to a handler."""

from aiohttp import web

from api.errors import Handler
from api.keys import VIEWS
from api.views import View


def get(view: View) -> Handler:
    """Return the handler that serves a view."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return await request.app[VIEWS].answer(view, request)

    return handler
