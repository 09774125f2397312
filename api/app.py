"""The aiohttp application."""

from collections.abc import AsyncIterator

import asyncpg
import msgspec
from aiohttp import web

from services import database

POOL = web.AppKey("pool", asyncpg.Pool)

CHANNELS = "SELECT * FROM channels ORDER BY pbx, unique_id"


async def channels(request: web.Request) -> web.Response:
    rows = await request.app[POOL].fetch(CHANNELS)
    return web.Response(
        body=msgspec.json.encode({"result": {"list": [dict(r) for r in rows]}}), content_type="application/json"
    )


def create(url: str) -> web.Application:
    """Build the application."""

    async def pool(app: web.Application) -> AsyncIterator[None]:
        async with await database.create_pool(url, size=4, search_path="model, ledger") as app[POOL]:
            yield

    app = web.Application()
    app.cleanup_ctx.append(pool)
    app.router.add_get("/v1/admin/core/channels", channels)
    return app
