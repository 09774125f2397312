"""Restarts a task that fails."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from services.runtime.backoff import Backoff
from services.runtime.tasks import wait_event

RESTART = Backoff(0.5, 30.0)

logger = structlog.get_logger()


async def supervised(task: str, pbx: str, body: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Run ``body`` until it returns, or until ``stop`` once it has failed.

    An unexpected error is logged with the names of the task and the PBX. The next run begins after a pause, which grows
    until a run has lasted longer than the longest pause.
    """
    failures = 0
    while True:
        since = time.monotonic()
        try:
            return await body()
        except Exception:
            logger.exception("task_failed", task=task, pbx=pbx)
        if stop.is_set():
            return None
        if time.monotonic() - since > RESTART.last:
            failures = 0
        await wait_event(stop, RESTART.longest(failures))
        failures += 1
