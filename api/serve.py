"""The API process."""

import asyncio
import sys
from pathlib import Path

from aiohttp import web

from api.app import create
from services import run
from services.settings import load


async def serve(file: Path | None, stop: asyncio.Event) -> None:
    """Serve until ``stop``."""
    settings = load(file=file)
    runner = web.AppRunner(create(settings.database_url), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, settings.http_host, settings.http_port).start()
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    run.run("serve", lambda stop: serve(Path(sys.argv[1]) if len(sys.argv) > 1 else None, stop))
