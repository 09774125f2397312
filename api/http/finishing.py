"""A read ends with its client. A write runs to its end, whether or not its client waits for the response."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from api.http.dialect import DIALECTS
from api.http.errors import Handler
from services.runtime.tasks import cancel_and_wait

READ_METHODS = {"GET", "HEAD", "OPTIONS"}
DRAIN_SECONDS = 1.0
"""How long a stopping server waits for writes without a client."""

Writes = set[asyncio.Task[web.StreamResponse]]
WRITES = web.AppKey("writes", Writes)


@web.middleware
async def finish_writes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Shield a write from the cancellation that comes when its client leaves."""
    if request.method in READ_METHODS and not request.app[DIALECTS].is_write(request):
        return await handler(request)

    async def finish() -> web.StreamResponse:
        return await handler(request)

    tasks, task = request.app[WRITES], asyncio.create_task(finish())
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return await asyncio.shield(task)


async def drain_writes(app: web.Application) -> AsyncIterator[None]:
    """End the writes before the resources that they use."""
    app[WRITES] = tasks = Writes()
    yield
    if tasks:
        await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
    await cancel_and_wait(tasks)
