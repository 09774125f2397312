"""How tasks are ended."""

import asyncio
from collections.abc import Iterable
from typing import Any


async def ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until they end: asyncpg forgets a cancellation that comes together with the server's answer.

    What they raised is nobody's business any more.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        over, left = await asyncio.wait(left, timeout=0.2)
        for task in over:
            if not task.cancelled():
                task.exception()
