"""The state of a listener whose events do not reach the log."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest

from services.database.locks import Lock, locked
from services.listener.ami import MakeIngest
from services.listener.backlog import backlog
from services.listener.backlog.backlog import Backlog
from services.listener.backlog.spools import Spools
from services.listener.standby import StandbyListener
from tests.support.ingest import numbered_event
from tests.support.polling import eventually


async def test_a_backlog_measures_how_long_it_stalls(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(backlog, "time", SimpleNamespace(monotonic=lambda: now))
    queue = Backlog("pbx", "ami", spools, 1)
    now = 200.0
    assert queue.stalled == 0.0
    queue.put(numbered_event(1))
    now = 230.0
    queue.put(numbered_event(2))
    assert queue.stalled == 30.0
    await queue.appended(await queue.next_batch(1))
    assert queue.stalled == 0.0
    now = 235.0
    assert queue.stalled == 5.0
    await queue.appended(await queue.next_batch(1))
    assert queue.stalled == 0.0


class OneEventListener:
    """A listener that receives one event."""

    link_up = True
    clock_offset: float | None = None

    def __init__(self, make_ingest: MakeIngest) -> None:
        self.ingest = make_ingest()

    async def run(self, stop: asyncio.Event) -> None:
        self.ingest.put(numbered_event(1))
        await stop.wait()


async def test_a_listener_reports_stuck_events(url: str, tmp_path: Path) -> None:
    standby = StandbyListener("pbx", "ami", url, Spools(tmp_path / "spool", 1), OneEventListener)
    stop = asyncio.Event()
    holder = await asyncpg.connect(url)

    async def is_stuck() -> bool:
        state = standby.state()
        return state.stalled > 0 and state.paused and state.spool.events == 1

    async def is_drained() -> bool:
        state = standby.state()
        return (state.stalled, state.paused, state.waiting, state.spool.events) == (0.0, False, 0, 0)

    async with locked(holder, Lock.APPEND):
        running = asyncio.create_task(standby.run(stop))
        await eventually(is_stuck, "the event waits in a full spool")
    await eventually(is_drained, "the event is in the log")
    assert standby.entry().stalled == 0.0
    stop.set()
    await running
    await holder.close()
