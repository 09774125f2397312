"""Waits for events with a time limit, and ends tasks."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

CANCEL_SECONDS = 0.2


async def wait_event(event: asyncio.Event, seconds: float) -> bool:
    """Wait until ``event`` is set, at most this long; return whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return event.is_set()


async def set_after(source: asyncio.Event, target: asyncio.Event) -> None:
    """Set ``target`` as soon as ``source`` is set."""
    await source.wait()
    target.set()


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they end, and discard their errors.

    asyncpg loses a cancellation that arrives together with the server's answer, so one is not enough.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=CANCEL_SECONDS)
        for task in ended:
            if not task.cancelled():
                task.exception()


async def run_until_first(*bodies: Awaitable[Any]) -> None:
    """Run all bodies until the first one ends, cancel the others, and raise the first error among them."""
    tasks = [asyncio.ensure_future(body) for body in bodies]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
