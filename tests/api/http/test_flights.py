"""Work that requests share: one of each kind at a time, for as long as one request waits for it."""

import asyncio
import contextlib

import pytest

from api.http.flights import Flights
from tests.services.accounts.test_fair_queue import settled


class Work:
    """Work that ends when the test lets it."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0
        self.may_end = asyncio.Event()
        self.forgets = False

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        try:
            if self.forgets:
                with contextlib.suppress(asyncio.CancelledError):
                    await self.may_end.wait()
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return number


async def test_requests_share_work_until_it_ends() -> None:
    flights, work = Flights[str, int](), Work()
    requests = [asyncio.create_task(flights.join("key", work)) for _ in range(3)]
    await settled()
    work.may_end.set()
    assert await asyncio.gather(*requests) == [1, 1, 1]
    assert await flights.join("key", work) == 2


async def test_work_goes_on_while_one_request_waits() -> None:
    flights, work = Flights[str, int](), Work()
    first, second = (asyncio.create_task(flights.join("key", work)) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    work.may_end.set()
    assert await second == 1
    assert (work.begun, work.cancelled) == (1, 0)


async def test_work_ends_when_no_request_waits() -> None:
    flights, work = Flights[str, int](), Work()
    requests = [asyncio.create_task(flights.join("key", work)) for _ in range(2)]
    await settled()
    for request in requests:
        request.cancel()
    await asyncio.wait(requests)
    last = asyncio.create_task(flights.join("key", work))
    await settled()
    assert (work.begun, work.cancelled) == (2, 1)
    work.may_end.set()
    assert await last == 2
    assert flights._flights == {}


async def test_work_that_forgets_a_cancellation_is_cancelled_again() -> None:
    flights, work = Flights[str, int](), Work()
    work.forgets = True
    request = asyncio.create_task(flights.join("key", work))
    await settled()
    request.cancel()
    await asyncio.wait([request])
    await asyncio.wait(flights._ending)
    assert work.cancelled == 1


async def test_an_error_reaches_all_requests_and_not_the_next() -> None:
    flights = Flights[str, int]()
    may_fail = asyncio.Event()

    async def failing() -> int:
        await may_fail.wait()
        raise ZeroDivisionError

    async def working() -> int:
        return 7

    requests = [asyncio.create_task(flights.join("key", failing)) for _ in range(2)]
    await settled()
    may_fail.set()
    for request in requests:
        with pytest.raises(ZeroDivisionError):
            await request
    assert await flights.join("key", working) == 7


async def test_keys_do_not_share() -> None:
    flights, work = Flights[str, int](), Work()
    work.may_end.set()
    assert sorted(await asyncio.gather(flights.join("a", work), flights.join("b", work))) == [1, 2]
