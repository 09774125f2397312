"""The routes of the streams. They need the permission ``supervisor``, like the views whose objects they send."""

from aiohttp import web

from api.http.auth import require_permission
from api.stream import sse, websocket

ROUTES = [
    web.get("/v1/events", require_permission("supervisor", sse.events, is_watched=False)),
    web.get("/v1/ws", require_permission("supervisor", websocket.websocket, is_watched=False), allow_head=False),
]
