"""The listener process: one listener and one writer per PBX, none of which can disturb the others."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog

from schemas.settings import Pbx, Settings
from services.ingest import Ingest
from services.listener import Listener
from services.spool import Spools

FIRST_RESTART_SECONDS = 0.5
LAST_RESTART_SECONDS = 30.0
DRAIN_SECONDS = 5.0

logger = structlog.get_logger()


async def listen(settings: Settings, url: str, stop: asyncio.Event) -> None:
    """Listen to every PBX until ``stop``; then say so in the log, and return when all is in it or in the spool."""
    spools = spools_of(settings)
    ours = {(pbx.name, kind) for kind, pbxes in (("ami", settings.ami), ("ari", settings.ari)) for pbx in pbxes}
    await asyncio.gather(
        *(_one(pbx, url, spools, stop) for pbx in settings.ami),
        # What was heard of a PBX that nobody listens to any more belongs into the log all the same.
        *(_left(name, kind, url, spools, stop) for name, kind in spools.names() - ours),
    )


def spools_of(settings: Settings) -> Spools:
    """Return where what PostgreSQL does not take waits on this machine."""
    return Spools(settings.data / "spool", settings.spool_bytes)


async def _one(pbx: Pbx, url: str, spools: Spools, stop: asyncio.Event) -> None:
    ingest = Ingest(url, pbx.name, spools)
    listener = Listener(pbx, ingest)
    await into_the_log(ingest, lambda: listener.run(stop), stop)


async def _left(pbx: str, kind: str, url: str, spools: Spools, stop: asyncio.Event) -> None:
    async def nothing_more() -> None:
        await stop.wait()

    await into_the_log(Ingest(url, pbx, spools, kind), nothing_more, stop)


async def into_the_log(ingest: Ingest, body: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Keep ``body``, which ends soon after ``stop``, and its writer running; then give the writer 5 s to drain.

    What is not in the log by then is left in the spool.
    """
    writing = asyncio.create_task(kept_running("writer", ingest.pbx, ingest.run, stop))
    await kept_running("listener", ingest.pbx, body, stop)
    ingest.stop()
    await asyncio.wait([writing], timeout=DRAIN_SECONDS)
    if not writing.done():
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing


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
