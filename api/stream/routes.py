"""Routes of what is told as it happens. They want the permission ``admin``, as all views do of which they tell."""

from aiohttp import web

from api.http.auth import require_permission
from api.stream import sse
from api.stream import websocket as ws

ROUTES = [
    web.get("/v1/events", require_permission("admin", sse.events, is_watched=False)),
    web.get("/v1/ws", require_permission("admin", ws.websocket, is_watched=False), allow_head=False),
]
