"""The API process."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from api.app import create
from api.app_keys import FAILED
from api.http.connections.connections import CONNECTIONS
from api.http.connections.guarded_connection import KEEP_ALIVE_SECONDS
from api.http.connections.limits import raise_file_limit
from api.http.connections.site import GuardedSite
from services.runtime.http_address import AddressError
from services.runtime.process import run
from services.runtime.settings import load_settings

SHUTDOWN_SECONDS = 3.0


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """Return False for a malformed request or body: any client can send one, and its text may hold a token.

    The client gets the reason in a 400.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError | web.RequestPayloadError))


async def serve(file: Path | None, stop: asyncio.Event) -> None:
    """Serve until ``stop``. Raises AddressError, or the error of a background task of the application."""
    settings = load_settings(file=file)
    raise_file_limit()
    logging.getLogger("aiohttp.server").addFilter(is_worth_a_line)
    app = create(settings.database_url, settings)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        handler_cancellation=True,
    )
    await runner.setup()
    try:
        site = GuardedSite(runner, app[CONNECTIONS], settings.http_host, settings.http_port)
        try:
            await site.start()
        except OSError as error:
            raise AddressError(settings.http_host, settings.http_port, error) from None
        ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(stop.wait()), app[FAILED]]
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in done:
            end.result()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    try:
        run("serve", lambda stop: serve(Path(sys.argv[1]) if len(sys.argv) > 1 else None, stop))
    except AddressError as error:
        sys.stderr.write(f"ringledger: {error}\n")
        raise SystemExit(2) from None
