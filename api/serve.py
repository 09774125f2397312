"""The API process."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from api.app import create
from api.keys import FAILED
from services import run
from services.settings import load

SHUTDOWN_SECONDS = 3.0


async def serve(file: Path | None, stop: asyncio.Event) -> None:
    """Serve until ``stop``; raises what a background task of the application raised."""
    settings = load(file=file)
    app = create(settings.database_url, settings)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.http_host, settings.http_port).start()
        ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(stop.wait()), app[FAILED]]
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in done:
            end.result()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    run.run("serve", lambda stop: serve(Path(sys.argv[1]) if len(sys.argv) > 1 else None, stop))
