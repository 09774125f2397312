"""The heartbeat: it detects silence; a refusal or a busy event loop is not silence."""

import asyncio
import time

import asyncpg
import pytest

from services.database.heartbeat import Heartbeat, SilentError
from services.database.pool import open_pool
from tests.support.polling import eventually


async def test_silence_ends_whatever_waits_for_postgresql() -> None:
    heartbeat = Heartbeat("")

    async def waits() -> None:
        async with heartbeat.limit(3600):
            await asyncio.Event().wait()

    waiting = [asyncio.create_task(waits()) for _ in range(3)]
    await asyncio.sleep(0)
    heartbeat._begin_silence()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in done] == [SilentError] * 3
    with pytest.raises(SilentError):
        await waits()
    assert await heartbeat._await(asyncio.sleep(0, "1")) == "1"
    assert not heartbeat.silent
    async with heartbeat.limit(3600):
        pass


async def test_no_answer_in_time_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.database.heartbeat.SILENT_TICKS", 2)
    monkeypatch.setattr("services.database.heartbeat.TICK_SECONDS", 0.01)
    heartbeat = Heartbeat("")
    with pytest.raises(SilentError):
        await heartbeat._await(asyncio.Event().wait())
    assert heartbeat.silent


async def test_a_busy_process_is_not_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.database.heartbeat.SILENT_TICKS", 2)
    monkeypatch.setattr("services.database.heartbeat.TICK_SECONDS", 0.01)
    heartbeat = Heartbeat("")

    async def answers() -> str:
        time.sleep(0.2)  # noqa: ASYNC251 (what a fold in the event loop does)
        return "1"

    assert await heartbeat._await(answers()) == "1"
    assert not heartbeat.silent


async def test_a_postgresql_that_refuses_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.database.heartbeat.BEAT_SECONDS", 0.0)
    queries = 0

    async def refuses(*_: object, **__: object) -> asyncpg.Connection:
        nonlocal queries
        queries += 1
        raise asyncpg.TooManyConnectionsError("sorry, too many clients already")

    monkeypatch.setattr("services.database.heartbeat.connect", refuses)
    heartbeat = Heartbeat("")
    running = asyncio.create_task(heartbeat.run())

    async def asked_twice() -> bool:
        return queries > 1

    await eventually(asked_twice, "it asks again")
    assert not heartbeat.silent
    running.cancel()


async def test_a_pool_refuses_after_its_time_limit(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await open_pool(url, Heartbeat(url), size=1) as pool, pool.acquire():
        monkeypatch.setattr("services.database.pool.ACQUIRE_SECONDS", 0.05)
        with pytest.raises(TimeoutError):
            await pool.fetchval("SELECT 1")


async def test_a_long_statement_of_working_postgresql_continues(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.database.heartbeat.BEAT_SECONDS", 0.01)
    heartbeat = Heartbeat(url)
    beating = asyncio.create_task(heartbeat.run())
    monkeypatch.setattr("services.database.pool.ACQUIRE_SECONDS", 60.0)
    async with await open_pool(url, heartbeat, size=1) as pool:
        assert await pool.fetchval("SELECT 1 FROM pg_sleep(1)") == 1
    beating.cancel()
