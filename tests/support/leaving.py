"""Clients that leave while their requests are running."""

import asyncio
from typing import Any

WAIT_SECONDS = 50.0
"""Less than the 60 s after which a long poll ends by itself."""


def running_requests() -> int:
    """Count the requests that aiohttp's servers of this process work on."""
    return sum("_handle_request" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def disconnect(*requests: asyncio.Task[Any]) -> None:
    """Close the connections of these running requests."""
    for request in requests:
        assert not request.done()
        request.cancel()
    await asyncio.wait(requests)
