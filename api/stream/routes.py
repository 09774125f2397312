"""Routes of what is told as it happens. They want the permission ``admin``, as all views do of which they tell."""

from aiohttp import web

from api.http.auth import needs
from api.stream import sse
from api.stream import websocket as ws

ROUTES = [
    web.get("/v1/events", needs("admin", sse.events, ends_itself=True)),
    web.get("/v1/ws", needs("admin", ws.websocket, ends_itself=True), allow_head=False),
]
