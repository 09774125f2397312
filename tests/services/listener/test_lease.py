"""Two listeners for one PBX: one holds the lease, the other takes over, and no event is appended twice."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec
import pytest

from schemas.listener import ListenerState
from schemas.log import NewEvent
from schemas.spool import SpoolState
from services.listener import lease as lease_module
from services.listener.backlog.spools import Spools
from services.listener.ingest import Ingest
from services.listener.lease import Lease
from services.listener.process_identity import _start_time, is_dead, process_identity
from services.log.append import append_events
from tests.support.cable import Cable
from tests.support.event_log import EventLog
from tests.support.fake_ami import FakeAmi, block
from tests.support.ingest import numbered_event
from tests.support.listener_process import SPOOL_MB, ListenerProcess, listener_process
from tests.support.polling import eventually, present

STATE = ListenerState("up", 3, SpoolState(1, 2, 3))
WRITERS = itertools.count(1)


@asynccontextmanager
async def renewing(lease: Lease) -> AsyncIterator[asyncio.Event]:
    is_over = asyncio.Event()
    task = asyncio.create_task(lease.renew_until(is_over, lambda: STATE))
    yield is_over
    task.cancel()
    await asyncio.wait([task])


def lease(url: str, host: str = "") -> Lease:
    result = Lease(url, "pbx", "ami", next(WRITERS))
    result._identity = host or result._identity
    return result


async def test_the_first_listener_holds_and_publishes_its_state(url: str) -> None:
    one, other = lease(url), lease(url)
    await one.stand_by(asyncio.Event())
    assert one.is_held
    async with renewing(one):
        stop = asyncio.Event()
        waiting = asyncio.create_task(other.stand_by(stop))
        connection = await asyncpg.connect(url)

        async def renewed() -> asyncpg.Record | None:
            return await connection.fetchrow("SELECT * FROM ledger.listener WHERE renewals >= 3")

        row = await present(renewed, "three renewals")
        await connection.close()
        assert row["holder"] == one.writer
        assert msgspec.json.decode(row["status"], type=ListenerState) == STATE
        assert not waiting.done()
        stop.set()
        await waiting
        assert not other.is_held
    await other.release()


async def test_a_released_lease_is_taken_without_a_fence(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", 3600.0)  # longer than the test
    one, other = lease(url), lease(url)
    await one.stand_by(asyncio.Event())
    waiting = asyncio.create_task(other.stand_by(asyncio.Event()))
    await eventually(lambda: other._last_seen)
    await one.release()
    await asyncio.wait_for(waiting, 300)
    assert other.is_held
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM ledger.connection WHERE fenced IS NOT NULL") == 0
    await connection.close()
    await other.release()


def test_a_takeover_takes_less_than_5_seconds() -> None:
    assert lease_module.LEASE_SECONDS + 2 * lease_module.POLL_SECONDS < 5
    assert 2 * lease_module.RENEW_INTERVAL_SECONDS < lease_module.LEASE_SECONDS


async def test_a_silent_remote_holder_loses_the_lease(url: str) -> None:
    one, other = lease(url, "elsewhere boot 1 1"), lease(url)
    await one.stand_by(asyncio.Event())
    began = time.monotonic()
    await other.stand_by(asyncio.Event())
    assert other.is_held
    assert time.monotonic() - began >= lease_module.LEASE_SECONDS
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT fenced FROM ledger.connection WHERE connection = $1", one.writer)
    await connection.close()
    async with renewing(one) as is_over:
        await asyncio.wait_for(is_over.wait(), 300)
    assert not one.is_held
    await other.release()


async def test_a_dead_local_holder_loses_the_lease_immediately(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", 3600.0)  # longer than the test
    killed = await asyncio.create_subprocess_exec("sleep", "60")
    host = " ".join([*process_identity().split(" ")[:2], str(killed.pid), _start_time(killed.pid)])
    assert not is_dead(host)
    assert not is_dead(f"another-machine {host.partition(' ')[2]}")
    killed.kill()
    await eventually(lambda: is_dead(host))
    await killed.wait()
    one, other = lease(url, host), lease(url)
    await one.stand_by(asyncio.Event())
    await asyncio.wait_for(other.stand_by(asyncio.Event()), 300)
    assert other.is_held
    await one.release()
    await other.release()


async def test_a_fence_accepts_events_despite_a_clock_jump(url: str) -> None:
    killed = await asyncio.create_subprocess_exec("sleep", "60")
    dead = lease(url, " ".join([*process_identity().split(" ")[:2], str(killed.pid), _start_time(killed.pid)]))
    await dead.stand_by(asyncio.Event())
    killed.kill()
    await killed.wait()
    other = lease(url)
    await other.stand_by(asyncio.Event())
    assert other.is_held
    connection = await asyncpg.connect(url)
    recorded = time.time() + 3600  # recorded before the clock was set back by an hour
    hangup = NewEvent("ami", "Hangup", recorded, recorded, block("Event: Hangup", "Uniqueid: 1.1"))
    assert await append_events(connection, "pbx", dead.writer, 1, [hangup]) > 0
    await connection.close()
    await dead.release()
    await other.release()


async def test_events_without_the_lease_are_dropped(url: str, spools: Spools) -> None:
    holder = lease(url)
    await holder.stand_by(asyncio.Event())
    async with renewing(holder), Cable.to_postgresql(url) as cable:
        cable._server.close()
        late = Lease(cable.url(url), "pbx", "ami", next(WRITERS))
        await late.stand_by(asyncio.Event())  # without PostgreSQL the listener receives events nevertheless
        assert not late.is_held
        is_fenced = asyncio.Event()
        ingest = Ingest(url, "pbx", spools, still_leader=late.still_leader, on_fenced=is_fenced.set)
        late._url = url
        async with renewing(late) as is_over:
            running = asyncio.create_task(ingest.run())
            ingest.put(numbered_event(1))
            await asyncio.wait_for(is_over.wait(), 300)
            await asyncio.wait_for(is_fenced.wait(), 300)
        ingest.stop()
        await running
    assert await EventLog(url).rows() == []
    await holder.release()


async def send_numbers(pbx: FakeAmi, url: str, numbers: range) -> None:
    """Send events with these numbers from the PBX, and wait until the last one is in the log."""
    pbx.send(b"".join(block("Event: Newexten", f"Uniqueid: {n}") for n in numbers))
    last = block("Event: Newexten", f"Uniqueid: {numbers[-1]}")

    async def is_logged() -> bool:
        return any(row["raw"] == last for row in await EventLog(url).rows())

    await eventually(is_logged, f"event {numbers[-1]} in the log")


async def logged_numbers(url: str) -> list[int]:
    rows = await EventLog(url).rows()
    return [int(row["raw"].split(b"Uniqueid: ")[1]) for row in rows if row["name"] == "Newexten"]


@asynccontextmanager
async def two_listeners(url: str, pbx: FakeAmi, folder: Path) -> AsyncIterator[tuple[ListenerProcess, ListenerProcess]]:
    """Run two listeners: the first holds the lease, the second stands by."""
    for name in ("one", "other"):
        (folder / name).mkdir()
    async with listener_process(url, pbx, folder / "one") as one:
        await eventually(lambda: pbx.logins >= 1)
        async with listener_process(url, pbx, folder / "other") as other:
            await eventually(lambda: other.log_lines("standing_by"))
            yield one, other


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_takeover_records_the_gap(url: str, tmp_path: Path, how: signal.Signals) -> None:
    async with FakeAmi() as pbx, two_listeners(url, pbx, tmp_path) as (one, _):
        await send_numbers(pbx, url, range(1, 101))
        assert pbx.logins == 1
        one.process.send_signal(how)
        await eventually(lambda: pbx.logins >= 2)
        await EventLog(url).until(lambda names: names.count("Connected") >= 2)
        await send_numbers(pbx, url, range(101, 201))
    assert await logged_numbers(url) == list(range(1, 201))
    links = [name for name in await EventLog(url).names() if name in {"Connected", "Disconnected"}]
    assert links == ["Connected", "Disconnected", "Connected"]


async def test_a_holder_that_slept_drops_its_events(url: str, tmp_path: Path) -> None:
    async with FakeAmi() as pbx, two_listeners(url, pbx, tmp_path) as (one, _):
        await send_numbers(pbx, url, range(1, 101))
        os.kill(one.process.pid, signal.SIGSTOP)
        await eventually(lambda: pbx.logins >= 2)
        await EventLog(url).until(lambda names: names.count("Connected") >= 2)
        await send_numbers(pbx, url, range(101, 201))  # these events also wait in the socket of the stopped process
        os.kill(one.process.pid, signal.SIGCONT)
        await eventually(lambda: one.log_lines("standing_by"))
        await send_numbers(pbx, url, range(201, 301))
        assert pbx.logins == 2
    assert await logged_numbers(url) == list(range(1, 301))
    links = [name for name in await EventLog(url).names() if name in {"Connected", "Disconnected"}]
    assert links == ["Connected", "Disconnected", "Connected"]


async def test_a_kill_loses_no_spooled_event(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SPOOL_MB, "1")
    sent = [block("Event: Newexten", f"Uniqueid: {n}", f"Padding: {'x' * 400}") for n in range(1, 20_001)]

    def queued() -> tuple[int, int]:
        (listener,) = msgspec.json.decode((tmp_path / "listeners.json").read_bytes())["listeners"]
        return listener["waiting"], listener["spool"]["events"]

    async with (
        FakeAmi() as pbx,
        Cable.to_postgresql(url) as cable,
        listener_process(cable.url(url), pbx, tmp_path) as listener,
    ):
        await EventLog(url).until(lambda names: "SnapshotCompleted" in names)
        cable._server.close()
        cable.cut()
        pbx.send(b"".join(sent))
        await eventually(lambda: listener.log_lines("reading_paused"))
        await eventually(lambda: queued()[0] == 0 and queued()[1] > 2000)
        spooled = queued()[1]
        listener.process.kill()
    async with FakeAmi() as pbx, listener_process(url, pbx, tmp_path):
        await EventLog(url).until(lambda names: names.count("Connected") >= 2)
    rows = await EventLog(url).rows()
    read = [row["raw"] for row in rows if row["name"] == "Newexten"]
    assert read == sent[: len(read)]
    links = [row["name"] for row in rows if row["name"] in {"Connected", "Disconnected"}]
    assert spooled - 5 <= len(read) <= spooled  # the spooled events may include a Minute
    assert links == ["Connected", "Disconnected", "Connected"]
