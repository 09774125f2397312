"""How a listener says that its events do not reach the log."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest

from services.database.locks import Lock, locked
from services.listener import backlog
from services.listener.ami import MakeIngest
from services.listener.backlog import Backlog
from services.listener.spools import Spools
from services.listener.standby import StandbyListener
from tests.services.listener.test_ingest import event
from tests.support.polling import eventually


async def test_a_backlog_measures_since_when_no_event_reached_the_log(
    spools: Spools, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(backlog, "time", SimpleNamespace(monotonic=lambda: now))
    waiting = Backlog("pbx", "ami", spools, 1)
    now = 200.0
    assert waiting.stalled == 0.0
    waiting.put(event(1))
    now = 230.0
    waiting.put(event(2))
    assert waiting.stalled == 30.0
    await waiting.appended(await waiting.next_batch(1))
    assert waiting.stalled == 0.0
    now = 235.0
    assert waiting.stalled == 5.0
    await waiting.appended(await waiting.next_batch(1))
    assert waiting.stalled == 0.0


class Hearing:
    """Hears one event."""

    link_up = True
    clock_offset: float | None = None

    def __init__(self, make_ingest: MakeIngest) -> None:
        self.ingest = make_ingest()

    async def run(self, stop: asyncio.Event) -> None:
        self.ingest.put(event(1))
        await stop.wait()


async def test_a_listener_says_that_its_events_are_stuck(url: str, tmp_path: Path) -> None:
    terms = StandbyListener("pbx", "ami", url, Spools(tmp_path / "spool", 1), Hearing)
    stop = asyncio.Event()
    holder = await asyncpg.connect(url)

    async def stuck() -> bool:
        state = terms.state()
        return state.stalled > 0 and state.paused and state.spool.events == 1

    async def flows() -> bool:
        state = terms.state()
        return (state.stalled, state.paused, state.waiting, state.spool.events) == (0.0, False, 0, 0)

    async with locked(holder, Lock.APPEND):
        running = asyncio.create_task(terms.run(stop))
        await eventually(stuck, "the event waits on a disk that is full")
    await eventually(flows, "the event is in the log")
    assert terms.posted().stalled == 0.0
    stop.set()
    await running
    await holder.close()
