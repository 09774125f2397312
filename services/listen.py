"""The listener process: one listener and one writer per PBX, none of which can disturb the others."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog

from schemas.settings import Pbx, Settings
from services.ingest import Ingest
from services.listener import Listener

FIRST_RESTART_SECONDS = 0.5
LAST_RESTART_SECONDS = 30.0
DRAIN_SECONDS = 5.0

logger = structlog.get_logger()


async def listen(settings: Settings, url: str, stop: asyncio.Event) -> None:
    """Listen to every PBX until ``stop``; then say so in the log, and return when all is in it, or 5 s later."""
    await asyncio.gather(*(_one(pbx, url, stop) for pbx in settings.ami))


async def _one(pbx: Pbx, url: str, stop: asyncio.Event) -> None:
    ingest = Ingest(url, pbx.name)
    listener = Listener(pbx, ingest)
    await into_the_log(ingest, lambda: listener.run(stop), stop)


async def into_the_log(ingest: Ingest, body: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Keep ``body``, which ends soon after ``stop``, and its writer running; then give the writer 5 s to drain."""
    writing = asyncio.create_task(kept_running("writer", ingest.pbx, ingest.run, stop))
    await kept_running("listener", ingest.pbx, body, stop)
    ingest.stop()
    await asyncio.wait([writing], timeout=DRAIN_SECONDS)
    if not writing.done():
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
    if ingest.waiting:
        logger.error("events_not_written", pbx=ingest.pbx, events=ingest.waiting, bytes=ingest.waiting_bytes)


async def kept_running(task: str, pbx: str, body: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Run ``body`` until it returns; log an unexpected error and run it again, later and later, until ``stop``."""
    pause = FIRST_RESTART_SECONDS
    while True:
        since = time.monotonic()
        try:
            return await body()
        except Exception:
            logger.exception("task_failed", task=task, pbx=pbx)
        if stop.is_set():
            return None
        if time.monotonic() - since > LAST_RESTART_SECONDS:
            pause = FIRST_RESTART_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
        pause = min(LAST_RESTART_SECONDS, 2 * pause)
