"""Waits with a time limit, restarts, and their pauses."""

import asyncio

import pytest

from services.runtime.backoff import Backoff
from services.runtime.supervise import supervised
from services.runtime.tasks import cancel_and_wait, run_until_first, set_after, wait_event

BACKOFF = Backoff(0.2, 3.0)


def test_pauses_double_until_the_last() -> None:
    assert [BACKOFF.longest(attempt) for attempt in range(6)] == [0.2, 0.4, 0.8, 1.6, 3.0, 3.0]
    assert BACKOFF.longest(1_000_000) == 3.0


def test_a_pause_has_at_least_half_length() -> None:
    assert all(0.8 <= BACKOFF.pause(3) <= 1.6 for _ in range(100))


async def test_an_event_ends_a_wait() -> None:
    event, follower = asyncio.Event(), asyncio.Event()
    following = asyncio.create_task(set_after(event, follower))
    assert not await wait_event(event, 0.01)
    event.set()
    assert await wait_event(follower, 10)
    assert await wait_event(event, 0)
    await following


async def test_a_task_that_ignores_one_cancellation_ends() -> None:
    ignored = 0

    async def stubborn() -> None:
        nonlocal ignored
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ignored += 1
                if ignored > 1:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await cancel_and_wait([task])
    assert task.cancelled()


async def test_the_first_end_cancels_the_others() -> None:
    async def failing() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await run_until_first(asyncio.sleep(60), failing())


async def test_a_failed_task_runs_again_until_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.supervise.RESTART", Backoff(0.001, 0.002))
    runs = 0

    async def body() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise LookupError

    await supervised("task", "pbx", body, asyncio.Event())
    assert runs == 3


async def test_a_failed_task_stays_down_after_stop() -> None:
    stop = asyncio.Event()
    runs = 0

    async def body() -> None:
        nonlocal runs
        runs += 1
        stop.set()
        raise LookupError

    await supervised("task", "pbx", body, stop)
    assert runs == 1
