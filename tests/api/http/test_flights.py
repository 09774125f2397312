"""Work that requests share: one flight per key, which lasts while a request waits for it."""

import asyncio
import contextlib

import pytest

from api.http.views.flights import Flights
from tests.support.polling import run_other_tasks


class Work:
    """Work that waits for the test before it ends."""

    def __init__(self) -> None:
        self.starts = self.cancellations = 0
        self.may_end = asyncio.Event()
        self.ignores_cancellation = False

    async def __call__(self) -> int:
        self.starts += 1
        number = self.starts
        try:
            if self.ignores_cancellation:
                with contextlib.suppress(asyncio.CancelledError):
                    await self.may_end.wait()
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancellations += 1
            raise
        return number


async def test_requests_share_work_until_it_ends() -> None:
    flights, work = Flights[str, int](), Work()
    requests = [asyncio.create_task(flights.join("key", work)) for _ in range(3)]
    await run_other_tasks()
    work.may_end.set()
    assert await asyncio.gather(*requests) == [1, 1, 1]
    assert await flights.join("key", work) == 2


async def test_work_continues_while_one_request_waits() -> None:
    flights, work = Flights[str, int](), Work()
    first, second = (asyncio.create_task(flights.join("key", work)) for _ in range(2))
    await run_other_tasks()
    first.cancel()
    await run_other_tasks()
    work.may_end.set()
    assert await second == 1
    assert (work.starts, work.cancellations) == (1, 0)


async def test_work_ends_when_no_request_waits() -> None:
    flights, work = Flights[str, int](), Work()
    requests = [asyncio.create_task(flights.join("key", work)) for _ in range(2)]
    await run_other_tasks()
    for request in requests:
        request.cancel()
    await asyncio.wait(requests)
    last = asyncio.create_task(flights.join("key", work))
    await run_other_tasks()
    assert (work.starts, work.cancellations) == (2, 1)
    work.may_end.set()
    assert await last == 2
    assert flights._flights == {}


async def test_work_that_ignores_a_cancellation_is_cancelled_again() -> None:
    flights, work = Flights[str, int](), Work()
    work.ignores_cancellation = True
    request = asyncio.create_task(flights.join("key", work))
    await run_other_tasks()
    request.cancel()
    await asyncio.wait([request])
    await asyncio.wait(flights._ending)
    assert work.cancellations == 1


async def test_an_error_reaches_waiting_requests_only() -> None:
    flights = Flights[str, int]()
    may_fail = asyncio.Event()

    async def fail() -> int:
        await may_fail.wait()
        raise ZeroDivisionError

    async def succeed() -> int:
        return 7

    requests = [asyncio.create_task(flights.join("key", fail)) for _ in range(2)]
    await run_other_tasks()
    may_fail.set()
    for request in requests:
        with pytest.raises(ZeroDivisionError):
            await request
    assert await flights.join("key", succeed) == 7


async def test_different_keys_share_no_work() -> None:
    flights, work = Flights[str, int](), Work()
    work.may_end.set()
    assert sorted(await asyncio.gather(flights.join("a", work), flights.join("b", work))) == [1, 2]
