"""A fake Asterisk's ARI."""

import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from schemas.settings import Pbx

ARI_EVENT = '{"type":"ChannelCreated","timestamp":"2026-11-22T00:56:23.349+0000","channel":{"name":"caf\u00e9 \u4e16"}}'
ARI_SECRET = "very-secret"
Serve = Callable[[web.WebSocketResponse], Awaitable[None]]


@contextlib.asynccontextmanager
async def fake_ari(*serve: Serve) -> AsyncIterator[Pbx]:
    """Serve ARI: each function serves one connection, in order; further connections are refused."""
    rest = iter(serve)

    async def events(request: web.Request) -> web.StreamResponse:
        assert dict(request.query) == {"app": "ringledger", "subscribeAll": "true"}
        scheme, credentials = request.headers["Authorization"].split()
        if scheme != "Basic" or base64.b64decode(credentials).decode() != f"user:{ARI_SECRET}":
            return web.Response(status=401)
        serve_next = next(rest, None)
        if serve_next is None:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await serve_next(socket)
        return socket

    app = web.Application()
    app.router.add_get("/ari/events", events)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port: int = runner.addresses[0][1]
    try:
        yield Pbx("pbx", "127.0.0.1", port, "user", ARI_SECRET)
    finally:
        await runner.cleanup()


async def send_and_stay(socket: web.WebSocketResponse) -> None:
    await socket.send_str(ARI_EVENT)
    await socket.receive()
