"""Password hashes, one at a time: a hash takes 25 ms of a processor and 19 MiB.

Three queues take turns: users who are logged in, clients that logged in as this user before, and all others. In each
of them users or clients take turns, and have a share, so a flood from one address delays another by one hash.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from services.accounts.fair_queue import FairQueue
from services.runtime.errors import NotReady, TooMany

T = TypeVar("T")

Lane = Literal["users", "known clients", "clients"]
SHARE = 8
PLACES = 512
RETRY_SECONDS = 1.0


class Hashing:
    """Turns to hash."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, FairQueue] = {
            lane: FairQueue(slots=1, share=SHARE, places=PLACES) for lane in ("users", "known clients", "clients")
        }
        self._turns = FairQueue(slots=1, share=1, places=len(self._lanes))

    async def run(self, lane: Lane, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run ``work`` when it is its turn. Raises TooMany where the share of ``key``, or the queue, is full.

        Work that has begun ends before the next begins, also when its request is cancelled: a thread cannot be stopped.
        """
        queue = self._lanes[lane]
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(queue.place(key))
            except NotReady:
                raise TooMany(RETRY_SECONDS) from None
            async with queue.turn(key), self._turns.turn(lane):
                return await _to_its_end(work())


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
