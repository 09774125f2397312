"""The one way in which these tests wait for something that does not announce itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.03
PATIENCE_SECONDS = 300.0
"""A machine whose cores are all busy needs minutes for what takes a second."""


class NotYetError(AssertionError):
    """Time is up; the message says what was waited for."""


async def until(what: Callable[[], Awaitable[T]], why: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Ask until the answer is true, and return it; fail with ``why`` and the last answer when time is up."""

    async def true() -> T | None:
        return await what() or None

    return await present(true, why, seconds)


async def present(what: Callable[[], Awaitable[T | None]], why: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Ask until there is an answer, be it empty, and return it; fail with ``why`` when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await what()
        if answer is not None:
            return answer
        if time.monotonic() > deadline:
            raise NotYetError(f"after {seconds:.1f} s still not: {why}")
        await asyncio.sleep(POLL_SECONDS)
