"""The one way in which tests wait for a state that nothing announces."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
SHORTEST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.005, 0.1
"""The pause is a tenth of the time that has passed, between these."""
TIMEOUT_SECONDS = 300.0
"""A guard against a hanging test. A machine whose cores are all busy needs minutes for one second of work."""


class NotYetError(AssertionError):
    """The time is up. The message names the state that did not come."""


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], description: str = "", seconds: float = TIMEOUT_SECONDS
) -> T: ...


@overload
async def eventually(condition: Callable[[], T], description: str = "", seconds: float = TIMEOUT_SECONDS) -> T: ...


async def eventually(condition: Callable[[], Any], description: str = "", seconds: float = TIMEOUT_SECONDS) -> Any:
    """Poll until the condition is true, and return its value. Raises NotYetError after ``seconds``."""

    async def true() -> Any:
        value = condition()
        return (await value if inspect.isawaitable(value) else value) or None

    return await present(true, description, seconds)


async def present(
    condition: Callable[[], Awaitable[T | None]], description: str = "", seconds: float = TIMEOUT_SECONDS
) -> T:
    """Poll until the value is not None (it may be empty), and return it. Raises NotYetError after ``seconds``."""
    start = time.monotonic()
    while (value := await condition()) is None:
        passed = time.monotonic() - start
        if passed > seconds:
            raise NotYetError(f"after {seconds:.1f} s still not: {description or 'the condition'}")
        await asyncio.sleep(min(max(passed / 10, SHORTEST_POLL_SECONDS), LONGEST_POLL_SECONDS))
    return value


async def run_other_tasks() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
