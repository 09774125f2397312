"""Work that several requests may wait for: it begins with the first of them and ends with the last."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from services.runtime.tasks import cancel_and_wait

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.task: asyncio.Task[T]
        self.waiting = 0


class Flights(Generic[K, T]):
    """Work under way, by key. It is cancelled when no request waits for it any more."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[T]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def join(self, key: K, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the work under this key; ``begin`` starts it if necessary. Raises its error."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.task = asyncio.create_task(self._run(key, flight, begin))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._abandon(key, flight)

    async def _run(self, key: K, flight: _Flight[T], begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return await begin()
        finally:
            # In the task's last step, not in a callback after it: a request between the two would join a flight that
            # is over, find its result too old, and join it again without a pause.
            self._finish(key, flight)

    def _finish(self, key: K, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _abandon(self, key: K, flight: _Flight[T]) -> None:
        self._finish(key, flight)
        flight.task.cancel()
        ending = asyncio.create_task(cancel_and_wait([flight.task]))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def stop(self) -> None:
        """Cancel all work, so that the process can end."""
        for flight in self._flights.values():
            flight.task.cancel()
