"""Ringledger's clock is set back by an hour, or forward: tasks with an interval continue as before."""

import asyncio
import time
from functools import partial
from typing import Any, cast

import msgspec
import pytest

from schemas.log import RingledgerEvent, SnapshotStarted
from services.asterisk.ami import snapshots as snapshot
from services.asterisk.ami.blocks import message
from services.asterisk.ami.session import Session
from services.asterisk.ami.snapshots import Snapshots
from services.database import secret_store
from services.database.connection import create_pool
from services.listener.ami import Listener
from services.listener.backlog.spools import Spools
from services.listener.ingest import Ingest
from services.runtime.clock import Clock, FullMinute, current_minute
from tests.support.fake_ami import FakeAmi, block
from tests.support.polling import TIMEOUT_SECONDS, eventually

MINUTE = 30_000_000 * 60
HOUR = 3600.0


class ManualClock:
    """A wall clock and a monotonic clock that the test moves."""

    def __init__(self, now: float) -> None:
        self.now, self.passed = now, 1000.0
        self.clock = Clock(lambda: self.now, lambda: self.passed)

    def go(self, seconds: float) -> None:
        self.now += seconds
        self.passed += seconds


class OffsetClock:
    """Running clocks, with the wall clock ``ahead`` of the true time by an offset that the test changes."""

    def __init__(self, now: float) -> None:
        self.ahead = now - time.time()
        self.clock = Clock(lambda: time.time() + self.ahead, time.monotonic)


def test_a_minute_is_full_by_the_wall_clock() -> None:
    manual = ManualClock(MINUTE - 20)
    due = FullMinute(manual.clock)
    assert due.left == 20
    manual.go(19.75)
    assert due.left == 0.25
    manual.go(0.25)
    assert (due.left, current_minute(manual.clock)) == (0, MINUTE)
    assert FullMinute(manual.clock).left == 60


def test_a_clock_set_back_delays_no_minute() -> None:
    manual = ManualClock(MINUTE - 20)
    due = FullMinute(manual.clock)
    manual.now -= HOUR - 10
    assert due.left == 25
    manual.go(25)
    assert (due.left, current_minute(manual.clock)) == (0, MINUTE - HOUR)
    assert FullMinute(manual.clock).left == 45


def test_a_clock_set_forward_ends_the_minute() -> None:
    manual = ManualClock(MINUTE - 20)
    due = FullMinute(manual.clock)
    manual.now += HOUR
    assert due.left < 0
    assert FullMinute(manual.clock).left == 20


def test_a_slow_clock_does_not_split_a_minute() -> None:
    manual = ManualClock(MINUTE - 20)
    due = FullMinute(manual.clock)
    manual.passed += 20
    manual.now += 19.5
    assert due.left == 0.5
    manual.go(0.5)
    assert (due.left, current_minute(manual.clock)) == (0, MINUTE)


class Asterisk:
    """A session whose every action succeeds; the first action calls ``then``."""

    def __init__(self, then: Any) -> None:
        self._then = then
        self.actions: list[str] = []

    async def request(self, action: str, *_: Any, **_headers: Any) -> Any:
        if not self.actions:
            self._then()
        self.actions.append(action)
        return [message(block("Response: Success"))]


async def test_lists_are_requested_after_a_clock_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "BOOT_SECONDS", 0.0)
    written: list[RingledgerEvent] = []
    clock = OffsetClock(MINUTE - 0.5)

    def set_back() -> None:
        clock.ahead -= HOUR

    asterisk = Asterisk(set_back)
    running = asyncio.create_task(Snapshots(written.append, clock.clock).run(cast("Session", asterisk)))
    await eventually(lambda: asterisk.actions.count("CoreShowChannels") >= 2)
    running.cancel()
    await asyncio.wait([running], timeout=TIMEOUT_SECONDS)
    first, second = [event.epoch for event in written if isinstance(event, SnapshotStarted)]
    assert second > first


async def test_minutes_are_written_after_a_clock_set_back(url: str, spools: Spools) -> None:
    manual = ManualClock(MINUTE - 1.5)
    make_ingest = partial(Ingest, url, "pbx", spools)

    def minutes() -> list[int]:
        return [
            msgspec.json.decode(e.raw)["minute"] for e in listener.ingest.backlog.memory.events if e.name == "Minute"
        ]

    async with FakeAmi() as pbx:
        listener = Listener(pbx.pbx(), make_ingest, Clock(now=manual.clock.now))
        stop = asyncio.Event()
        running = asyncio.create_task(listener.run(stop))
        await eventually(lambda: listener.link_up)
        manual.now = MINUTE - HOUR + 0.1
        await eventually(minutes)
        stop.set()
        await running
    assert minutes() == [MINUTE - HOUR]


async def test_a_secret_from_a_future_time_expires(url: str) -> None:
    async with await create_pool(url, size=1) as pool:
        await secret_store.store(pool, {"old": "1", "young": "2"})
        await pool.execute("UPDATE ledger.secret SET made = now() + interval '1 hour' WHERE id = 'old'")
        await secret_store.store(pool, {})
        assert [row["id"] for row in await pool.fetch("SELECT id FROM ledger.secret")] == ["young"]
