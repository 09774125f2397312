"""A clock of ours that is set back by an hour, or forward: what goes by intervals goes on as before."""

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
from services.listener.ingest import Ingest
from services.listener.spools import Spools
from services.runtime.clock import Clock, FullMinute, current_minute
from tests.support.fake_ami import FakeAmi, block
from tests.support.polling import TIMEOUT_SECONDS, eventually

MINUTE = 30_000_000 * 60
HOUR = 3600.0


class Hands:
    """Two clocks of a test's own, that stand still until they are moved."""

    def __init__(self, now: float) -> None:
        self.now, self.passed = now, 1000.0
        self.clock = Clock(lambda: self.now, lambda: self.passed)

    def go(self, seconds: float) -> None:
        self.now += seconds
        self.passed += seconds


class Running:
    """Clocks that go, of which ``now`` is ``ahead`` of the true time; set it back by taking from that."""

    def __init__(self, now: float) -> None:
        self.ahead = now - time.time()
        self.clock = Clock(lambda: time.time() + self.ahead, time.monotonic)


def test_a_full_minute_comes_when_the_clock_shows_it() -> None:
    hands = Hands(MINUTE - 20)
    due = FullMinute(hands.clock)
    assert due.left == 20
    hands.go(19.75)
    assert due.left == 0.25
    hands.go(0.25)
    assert (due.left, current_minute(hands.clock)) == (0, MINUTE)
    assert FullMinute(hands.clock).left == 60


def test_a_clock_that_is_set_back_puts_no_full_current_minutef() -> None:
    hands = Hands(MINUTE - 20)
    due = FullMinute(hands.clock)
    hands.now -= HOUR - 10
    assert due.left == 25
    hands.go(25)
    assert (due.left, current_minute(hands.clock)) == (0, MINUTE - HOUR)
    assert FullMinute(hands.clock).left == 45


def test_a_clock_that_is_set_forward_brings_the_minute_on() -> None:
    hands = Hands(MINUTE - 20)
    due = FullMinute(hands.clock)
    hands.now += HOUR
    assert due.left < 0
    assert FullMinute(hands.clock).left == 20


def test_a_clock_that_goes_slowly_does_not_split_a_minute() -> None:
    hands = Hands(MINUTE - 20)
    due = FullMinute(hands.clock)
    hands.passed += 20
    hands.now += 19.5
    assert due.left == 0.5
    hands.go(0.5)
    assert (due.left, current_minute(hands.clock)) == (0, MINUTE)


class Asterisk:
    """A session that answers every action with success; at the first one ``then`` is called."""

    def __init__(self, then: Any) -> None:
        self._then = then
        self.asked: list[str] = []

    async def request(self, action: str, *_: Any, **_headers: Any) -> Any:
        if not self.asked:
            self._then()
        self.asked.append(action)
        return [message(block("Response: Success"))]


async def test_lists_go_on_after_a_clock_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "BOOT_SECONDS", 0.0)
    written: list[RingledgerEvent] = []
    clock = Running(MINUTE - 0.5)

    def set_back() -> None:
        clock.ahead -= HOUR

    asterisk = Asterisk(set_back)
    running = asyncio.create_task(Snapshots(written.append, clock.clock).run(cast("Session", asterisk)))
    await eventually(lambda: asterisk.asked.count("CoreShowChannels") >= 2)
    running.cancel()
    await asyncio.wait([running], timeout=TIMEOUT_SECONDS)
    first, second = [event.epoch for event in written if isinstance(event, SnapshotStarted)]
    assert second > first


async def test_minutes_are_written_on_after_a_clock_set_back(url: str, spools: Spools) -> None:
    hands = Hands(MINUTE - 1.5)
    make_ingest = partial(Ingest, url, "pbx", spools)

    def minutes() -> list[int]:
        return [
            msgspec.json.decode(e.raw)["minute"] for e in listener.ingest.backlog.memory.events if e.name == "Minute"
        ]

    async with FakeAmi() as pbx:
        listener = Listener(pbx.pbx(), make_ingest, Clock(now=hands.clock.now))
        stop = asyncio.Event()
        running = asyncio.create_task(listener.run(stop))
        await eventually(lambda: listener.link_up)
        hands.now = MINUTE - HOUR + 0.1
        await eventually(minutes)
        stop.set()
        await running
    assert minutes() == [MINUTE - HOUR]


async def test_a_secret_from_before_a_clock_was_set_back_is_swept(url: str) -> None:
    async with await create_pool(url, size=1) as pool:
        await secret_store.store(pool, {"old": "1", "young": "2"})
        await pool.execute("UPDATE ledger.secret SET made = now() + interval '1 hour' WHERE id = 'old'")
        await secret_store.store(pool, {})
        assert [row["id"] for row in await pool.fetch("SELECT id FROM ledger.secret")] == ["young"]
