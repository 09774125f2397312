"""A bounded queue for costly reads, in which users take turns."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from services.runtime.errors import NotReady

RETRY_AFTER_SECONDS = 5


class FairQueue:
    """Admits at most ``share`` requests of one user and ``places`` in all, and gives ``slots`` of them a turn at once.

    Turns go round robin over the users, so a user with many requests delays another user by one turn per round.
    ``refused`` counts the requests that were not admitted.
    """

    def __init__(self, *, slots: int, share: int, places: int) -> None:
        self.share = share
        self.places = places
        self.refused = 0
        self._free = slots
        self._admitted: Counter[str] = Counter()
        # The users in the order of their next turns, each with the requests in order of arrival.
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        self._is_stopped = False

    @property
    def admitted(self) -> int:
        """The number of admitted requests, with or without a turn."""
        return self._admitted.total()

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a turn."""
        return sum(map(len, self._queues.values()))

    @contextmanager
    def reserve(self, user: str) -> Iterator[None]:
        """Admit a request. Raises NotReady if the user's share or the queue is full, or the server is stopping."""
        if self._is_stopped:
            raise _refusal("the server is stopping")
        if self._admitted[user] >= self.share:
            self.refused += 1
            raise _refusal(f"{self.share} such requests of one user are in progress; try again later")
        if self.admitted >= self.places:
            self.refused += 1
            raise _refusal(f"{self.places} such requests are in progress; try again later")
        self._admitted[user] += 1
        try:
            yield
        finally:
            self._admitted[user] -= 1
            if not self._admitted[user]:
                del self._admitted[user]

    @asynccontextmanager
    async def turn(self, user: str) -> AsyncIterator[None]:
        """Wait for a turn and hold it; an admitted request may take several. Raises NotReady at `stop`."""
        if self._free and not self._queues:
            self._free -= 1
        else:
            await self._wait(user)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, user: str) -> None:
        if self._is_stopped:
            raise _refusal("the server is stopping")
        waiting = asyncio.get_running_loop().create_future()
        self._queues.setdefault(user, deque()).append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.cancelled():
                self._leave(user, waiting)
            elif waiting.exception() is None:
                self._pass_on()  # The turn came at the same moment as the cancellation.
            raise

    def _leave(self, user: str, waiting: asyncio.Future[None]) -> None:
        queue = self._queues.get(user, deque())
        if waiting in queue:
            queue.remove(waiting)
            if not queue:
                del self._queues[user]

    def _pass_on(self) -> None:
        """Give the turn to the first request of the next user, and put that user last."""
        while self._queues:
            user, queue = next(iter(self._queues.items()))
            del self._queues[user]
            waiting = queue.popleft()
            if queue:
                self._queues[user] = queue
            if not waiting.done():
                waiting.set_result(None)
                return
        self._free += 1

    def stop(self) -> None:
        """Refuse all requests that wait for a turn, and all that come."""
        self._is_stopped = True
        queues, self._queues = self._queues, {}
        for queue in queues.values():
            for waiting in queue:
                if not waiting.done():
                    waiting.set_exception(_refusal("the server is stopping"))


def _refusal(message: str) -> NotReady:
    return NotReady(message, retry_after=RETRY_AFTER_SECONDS)
