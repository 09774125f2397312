"""Turns to hash: queues for users, known clients and others, fair between users and addresses in each."""

import asyncio
import threading

import pytest

from services.accounts.hashing import MAX_PLACES, USER_PLACES, Hashing, Lane
from services.runtime.errors import TooMany


class Work:
    """Hashes that end when the test lets them; ``started`` is the order of the turns."""

    def __init__(self) -> None:
        self.hashing = Hashing()
        self.started: list[str] = []
        self._end = asyncio.Semaphore(0)

    async def ask(self, lane: Lane, key: str) -> None:
        async def work() -> None:
            self.started.append(key)
            await self._end.acquire()

        await self.hashing.run(lane, key, work)

    async def start(self, lane: Lane, *keys: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.ask(lane, key)) for key in keys]
        await settled()
        return tasks

    async def end(self, turns: int) -> None:
        for _ in range(turns):
            self._end.release()
            await settled()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_flood_delays_each_user_by_one_hash() -> None:
    work = Work()
    flood = await work.start("clients", *["flood"] * USER_PLACES)
    others = [
        *await work.start("clients", "home"),
        *await work.start("users", "admin"),
        *await work.start("known clients", "office ann"),
    ]
    await work.end(len(flood) + len(others))
    assert work.started[0] == "flood"
    assert {"home", "admin", "office ann"} <= set(work.started[:6])
    await asyncio.gather(*flood, *others)


async def test_a_full_share_or_queue_refuses() -> None:
    work = Work()
    tasks = await work.start("clients", *["flood"] * (USER_PLACES + 1))
    assert _wait(tasks.pop()) == 1.0
    tasks += await work.start("clients", *map(str, range(MAX_PLACES - USER_PLACES)))
    assert _wait((await work.start("clients", "late"))[0]) == 1.0
    tasks += await work.start("users", "admin")
    tasks += await work.start("known clients", "office ann")
    await work.end(len(tasks))
    await asyncio.gather(*tasks)


def _wait(task: asyncio.Task[None]) -> float:
    error = task.exception()
    assert isinstance(error, TooMany)
    return error.retry_after


async def test_a_leaving_client_takes_no_turn() -> None:
    work = Work()
    first, second, third = await work.start("clients", "a", "b", "c")
    second.cancel()
    await settled()
    await work.end(2)
    await asyncio.gather(first, third)
    assert work.started == ["a", "c"]


async def test_a_started_hash_ends_before_the_next_starts() -> None:
    hashing, running, end = Hashing(), threading.Event(), threading.Event()
    at_once: list[int] = []
    count = 0

    def hash_once() -> None:
        nonlocal count
        count += 1
        at_once.append(count)
        running.set()
        end.wait()
        count -= 1

    async def work() -> None:
        await asyncio.to_thread(hash_once)

    leaver = asyncio.create_task(hashing.run("clients", "a", work))
    await asyncio.to_thread(running.wait)
    next_one = asyncio.create_task(hashing.run("clients", "b", work))
    leaver.cancel()
    await settled()
    end.set()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    await next_one
    assert at_once == [1, 1]
