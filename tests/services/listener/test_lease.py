"""Two listeners for one PBX: one holds the lease, the other takes over, and nothing is doubled."""

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
from services.listener.ingest import Ingest
from services.listener.lease import Lease
from services.listener.process_identity import _start_time, is_dead, process_identity
from services.listener.spools import Spools
from services.log.append import append_events
from tests.services.listener.test_ingest import SPOOL_MB, Process, event, process
from tests.support.cable import Cable
from tests.support.event_log import EventLog
from tests.support.fake_ami import FakeAmi, block
from tests.support.polling import TIMEOUT_SECONDS, eventually

STATE = ListenerState("up", 3, SpoolState(1, 2, 3))
WRITERS = itertools.count(1)


@asynccontextmanager
async def keeping(lease: Lease) -> AsyncIterator[asyncio.Event]:
    over = asyncio.Event()
    task = asyncio.create_task(lease.renew_until(over, lambda: STATE))
    yield over
    task.cancel()
    await asyncio.wait([task])


def lease(url: str, host: str = "") -> Lease:
    made = Lease(url, "pbx", "ami", next(WRITERS))
    made._identity = host or made._identity
    return made


async def test_the_first_holds_and_tells_how_it_does(url: str) -> None:
    one, other = lease(url), lease(url)
    await one.stand_by(asyncio.Event())
    assert one.is_held
    async with keeping(one):
        stop = asyncio.Event()
        waiting = asyncio.create_task(other.stand_by(stop))
        connection = await asyncpg.connect(url)

        end = time.monotonic() + TIMEOUT_SECONDS
        while (row := await connection.fetchrow("SELECT * FROM ledger.listener"))["renewals"] < 3:
            assert time.monotonic() < end
            await asyncio.sleep(0.02)
        await connection.close()
        assert row["holder"] == one.writer
        assert msgspec.json.decode(row["status"], type=ListenerState) == STATE
        assert not waiting.done()
        stop.set()
        await waiting
        assert not other.is_held
    await other.release()


async def test_one_that_is_given_back_is_taken_at_once_and_nobody_is_fenced(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", 3600.0)  # nobody waits for that
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


async def test_a_holder_elsewhere_that_is_silent_loses_it(url: str) -> None:
    one, other = lease(url, "elsewhere boot 1 1"), lease(url)
    await one.stand_by(asyncio.Event())
    began = time.monotonic()
    await other.stand_by(asyncio.Event())
    assert other.is_held
    assert time.monotonic() - began >= lease_module.LEASE_SECONDS
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT fenced FROM ledger.connection WHERE connection = $1", one.writer)
    await connection.close()
    async with keeping(one) as over:
        await asyncio.wait_for(over.wait(), 300)
    assert not one.is_held
    await other.release()


async def test_a_dead_process_on_this_machine_is_known_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", 3600.0)  # nobody waits for that
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


async def test_events_of_a_dead_listener_are_taken_after_a_clock_set_back(url: str) -> None:
    killed = await asyncio.create_subprocess_exec("sleep", "60")
    dead = lease(url, " ".join([*process_identity().split(" ")[:2], str(killed.pid), _start_time(killed.pid)]))
    await dead.stand_by(asyncio.Event())
    killed.kill()
    await killed.wait()
    other = lease(url)
    await other.stand_by(asyncio.Event())
    assert other.is_held
    connection = await asyncpg.connect(url)
    later = time.time() + 3600  # the listener recorded it before the clock was set back by an hour
    heard = NewEvent("ami", "Hangup", later, later, block("Event: Hangup", "Uniqueid: 1.1"))
    assert await append_events(connection, "pbx", dead.writer, 1, [heard]) > 0
    await connection.close()
    await dead.release()
    await other.release()


async def test_what_was_heard_before_the_lease_was_known_to_be_anothers_is_dropped(url: str, spools: Spools) -> None:
    holder = lease(url)
    await holder.stand_by(asyncio.Event())
    async with keeping(holder), Cable.to_postgresql(url) as cable:
        cable._server.close()
        late = Lease(cable.url(url), "pbx", "ami", next(WRITERS))
        await late.stand_by(asyncio.Event())  # PostgreSQL is away: it listens all the same
        assert not late.is_held
        gone = asyncio.Event()
        ingest = Ingest(url, "pbx", spools, still_leader=late.still_leader, on_fenced=gone.set)
        late._url = url
        async with keeping(late) as over:
            running = asyncio.create_task(ingest.run())
            ingest.put(event(1))
            await asyncio.wait_for(over.wait(), 300)
            await asyncio.wait_for(gone.wait(), 300)
        ingest.stop()
        await running
    assert await EventLog(url).rows() == []
    await holder.release()


async def numbered(pbx: FakeAmi, url: str, numbers: range) -> None:
    """Let the PBX say these numbers, and wait until the last of them is in the log."""
    pbx.send(b"".join(block("Event: Newexten", f"Uniqueid: {n}") for n in numbers))
    last = block("Event: Newexten", f"Uniqueid: {numbers[-1]}")

    async def there() -> bool:
        return any(row["raw"] == last for row in await EventLog(url).rows())

    end = time.monotonic() + TIMEOUT_SECONDS
    while not await there():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def heard(url: str) -> list[int]:
    rows = await EventLog(url).rows()
    return [int(row["raw"].split(b"Uniqueid: ")[1]) for row in rows if row["name"] == "Newexten"]


@asynccontextmanager
async def two(url: str, pbx: FakeAmi, folder: Path) -> AsyncIterator[tuple[Process, Process]]:
    """Two listeners: the first holds, the second stands by."""
    for name in ("one", "other"):
        (folder / name).mkdir()
    async with process(url, pbx, folder / "one") as one:
        await eventually(lambda: pbx.logins >= 1)
        async with process(url, pbx, folder / "other") as other:
            await eventually(lambda: other.said("standing_by"))
            yield one, other


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_the_other_takes_over_and_the_gap_is_recorded(url: str, tmp_path: Path, how: signal.Signals) -> None:
    async with FakeAmi() as pbx, two(url, pbx, tmp_path) as (one, _):
        await numbered(pbx, url, range(1, 101))
        assert pbx.logins == 1
        one.process.send_signal(how)
        await eventually(lambda: pbx.logins >= 2)
        await EventLog(url).until(lambda names: names.count("Connected") >= 2)
        await numbered(pbx, url, range(101, 201))
    assert await heard(url) == list(range(1, 201))
    links = [name for name in await EventLog(url).names() if name in {"Connected", "Disconnected"}]
    assert links == ["Connected", "Disconnected", "Connected"]


async def test_a_holder_that_slept_too_long_drops_what_the_other_heard(url: str, tmp_path: Path) -> None:
    async with FakeAmi() as pbx, two(url, pbx, tmp_path) as (one, _):
        await numbered(pbx, url, range(1, 101))
        os.kill(one.process.pid, signal.SIGSTOP)
        await eventually(lambda: pbx.logins >= 2)
        await EventLog(url).until(lambda names: names.count("Connected") >= 2)
        await numbered(pbx, url, range(101, 201))  # waits in the sleeper's socket too
        os.kill(one.process.pid, signal.SIGCONT)
        await eventually(lambda: one.said("standing_by"))
        await numbered(pbx, url, range(201, 301))
        assert pbx.logins == 2
    assert await heard(url) == list(range(1, 301))
    links = [name for name in await EventLog(url).names() if name in {"Connected", "Disconnected"}]
    assert links == ["Connected", "Disconnected", "Connected"]


async def test_a_kill_with_a_full_spool_loses_nothing_that_was_read(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SPOOL_MB, "1")
    sent = [block("Event: Newexten", f"Uniqueid: {n}", f"Padding: {'x' * 400}") for n in range(1, 20_001)]

    def board() -> tuple[int, int]:
        (listener,) = msgspec.json.decode((tmp_path / "listeners.json").read_bytes())["listeners"]
        return listener["waiting"], listener["spool"]["events"]

    async with (
        FakeAmi() as pbx,
        Cable.to_postgresql(url) as cable,
        process(cable.url(url), pbx, tmp_path) as listener,
    ):
        await EventLog(url).until(lambda names: "SnapshotCompleted" in names)
        cable._server.close()
        cable.cut()
        pbx.send(b"".join(sent))
        await eventually(lambda: listener.said("reading_paused"))
        await eventually(lambda: board()[0] == 0 and board()[1] > 2000)
        spooled = board()[1]
        listener.process.kill()
    async with FakeAmi() as pbx, process(url, pbx, tmp_path):
        await EventLog(url).until(lambda names: names.count("Connected") >= 2)
    rows = await EventLog(url).rows()
    read = [row["raw"] for row in rows if row["name"] == "Newexten"]
    assert read == sent[: len(read)]
    links = [row["name"] for row in rows if row["name"] in {"Connected", "Disconnected"}]
    assert spooled - 5 <= len(read) <= spooled  # a Minute may be among the spooled
    assert links == ["Connected", "Disconnected", "Connected"]
