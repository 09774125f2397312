"""A queue for password hashes, computed one at a time: each takes 25 ms of a processor and 19 MiB.

Three lanes take turns: logged-in users, clients that logged in as this user before, and all other clients. In each
lane, users or clients take turns and have a share, so a flood from one address delays another by one hash.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from services.accounts.fair_queue import FairQueue
from services.runtime.errors import NotReady, TooMany

T = TypeVar("T")

Lane = Literal["users", "known clients", "clients"]
USER_PLACES = 8
MAX_PLACES = 512
RETRY_SECONDS = 1.0


class Hashing:
    """The lanes of one process."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, FairQueue] = {
            lane: FairQueue(slots=1, share=USER_PLACES, places=MAX_PLACES)
            for lane in ("users", "known clients", "clients")
        }
        self._turns = FairQueue(slots=1, share=1, places=len(self._lanes))

    async def run(self, lane: Lane, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run ``work`` in its turn. Raises TooMany where the share of ``key``, or the lane, is full.

        Started work ends before the next starts, even when its request is cancelled: a thread cannot be stopped.
        """
        queue = self._lanes[lane]
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(queue.reserve(key))
            except NotReady:
                raise TooMany(RETRY_SECONDS) from None
            async with queue.turn(key), self._turns.turn(lane):
                return await _finish(work())


async def _finish(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
