"""The queue for costly reads: round robin between users, a share for each, and a bound for all."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.accounts.fair_queue import FairQueue
from services.runtime.errors import NotReady
from tests.support.polling import run_other_tasks


class Work:
    """Requests of users whose turns end when the test lets them; ``started`` is the order of the turns."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue = queue
        self.started: list[str] = []
        self._end = asyncio.Semaphore(0)

    async def request(self, name: str) -> None:
        with self.queue.reserve(name[0]):
            async with self.queue.turn(name[0]):
                self.started.append(name)
                await self._end.acquire()

    async def start(self, *names: str) -> list[asyncio.Task[None]]:
        """Start requests in this order; the first letter of a name is the user."""
        tasks = [asyncio.create_task(self.request(name)) for name in names]
        await run_other_tasks()
        return tasks

    async def end(self, turns: int) -> None:
        for _ in range(turns):
            self._end.release()
            await run_other_tasks()


def queue(slots: int = 1, share: int = 9, places: int = 99) -> FairQueue:
    return FairQueue(slots=slots, share=share, places=places)


async def test_users_take_turns() -> None:
    work = Work(queue())
    tasks = await work.start("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    assert work.started == ["a1"]
    await work.end(7)
    assert work.started == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
    await asyncio.gather(*tasks)
    assert (work.queue.admitted, work.queue.waiting) == (0, 0)


async def test_a_late_user_waits_for_one_round() -> None:
    work = Work(queue(share=1500, places=1501))
    tasks = await work.start(*(f"a{n}" for n in range(1500)), "b1")
    await work.end(3)
    assert work.started == ["a0", "a1", "b1", "a2"]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert (work.queue.admitted, work.queue.waiting) == (0, 0)


async def test_requests_fill_all_slots() -> None:
    work = Work(queue(slots=2))
    tasks = await work.start("a1", "a2", "a3", "a4")
    assert work.started == ["a1", "a2"]
    await work.end(2)
    assert work.started == ["a1", "a2", "a3", "a4"]
    await work.end(2)
    await asyncio.gather(*tasks)
    tasks = await work.start("b1", "b2", "b3")
    assert work.started[4:] == ["b1", "b2"]
    await work.end(3)
    await asyncio.gather(*tasks)


async def refused(request: Callable[[], Awaitable[None]]) -> str:
    with pytest.raises(NotReady) as raised:
        await request()
    assert raised.value.retry_after == 5
    return raised.value.message


async def test_a_full_share_or_queue_refuses() -> None:
    work = Work(queue(share=2, places=3))
    tasks = await work.start("a1", "a2")
    assert await refused(lambda: work.request("a3")) == "2 such requests of one user are in progress; try again later"
    tasks += await work.start("b1")
    assert await refused(lambda: work.request("c1")) == "3 such requests are in progress; try again later"
    assert (work.queue.admitted, work.queue.waiting, work.queue.refused) == (3, 2, 2)
    await work.end(3)
    await asyncio.gather(*tasks)
    tasks = await work.start("a4", "c2")
    await work.end(2)
    await asyncio.gather(*tasks)
    assert work.started == ["a1", "a2", "b1", "a4", "c2"]


async def test_a_request_that_leaves_is_passed_over() -> None:
    work = Work(queue())
    running, first, second, third, other = await work.start("a1", "a2", "a3", "a4", "b1")
    for task in (first, third):
        task.cancel()
    await work.end(1)
    assert work.started == ["a1", "a3"]
    await work.end(1)
    assert work.started == ["a1", "a3", "b1"]
    await work.end(1)
    await asyncio.gather(running, second, other)
    assert (work.queue.admitted, work.queue.waiting) == (0, 0)


async def test_a_leaving_request_gets_no_turn() -> None:
    work = Work(queue())
    running, waiting, last = await work.start("a1", "a2", "a3")
    waiting.cancel()
    work._end.release()
    await asyncio.wait([running, waiting])
    await run_other_tasks()
    assert work.started == ["a1", "a3"]
    await work.end(1)
    await last
    assert (work.queue.admitted, work.queue.waiting) == (0, 0)


async def test_a_turn_during_a_cancellation_is_passed_on() -> None:
    turns = queue()
    async with turns.turn("a"):
        waiting = asyncio.create_task(turns._wait("a"))
        await run_other_tasks()
        last = asyncio.create_task(turns._wait("b"))
        await run_other_tasks()
        turns._pass_on()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        await last
    assert turns.waiting == 0


async def test_stopping_refuses_waiting_and_later_requests() -> None:
    work = Work(queue())
    running, first, second = await work.start("a1", "a2", "b1")
    second.cancel()
    work.queue.stop()
    assert await refused(lambda: first) == "the server is stopping"
    assert await refused(lambda: work.request("c1")) == "the server is stopping"
    await work.end(1)
    await running
    assert work.started == ["a1"]
    assert (work.queue.admitted, work.queue.waiting, work.queue.refused) == (0, 0, 0)
