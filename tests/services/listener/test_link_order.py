"""Links in the log: each link ends once, before the next Connected, in any order of appends."""

import asyncio
import json
import signal
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from schemas.log import NewEvent
from services.listener import ami as listener_module
from services.listener import ingest as ingest_module
from services.listener.ami import Listener
from services.listener.ari import AriListener
from services.listener.backlog import backlog as backlog_module
from services.listener.backlog.spools import Spools
from services.listener.ingest import Ingest
from services.listener.lease import Lease
from services.listener.observer import IngestObserver
from services.log.append import append_events
from tests.support.cable import Cable
from tests.support.event_log import EventLog
from tests.support.fake_ami import FakeAmi, block
from tests.support.fake_ari import fake_ari, send_and_stay
from tests.support.ingest import running_ingest
from tests.support.listener_process import listener_process, wait_connected
from tests.support.polling import TIMEOUT_SECONDS, eventually

LISTENER_DIED = "the listener died"
LINKS = {"ami": ("Connected", "Disconnected"), "ari": ("AriConnected", "AriDisconnected")}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (backlog_module, ingest_module):
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(ingest_module, "STOP_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(listener_module, "EPOCH_TIMEOUT_SECONDS", 0.1)


async def links(url: str, kind: str = "ami") -> list[str]:
    return [name for name in await EventLog(url).names() if name in LINKS[kind]]


async def ends(url: str, kind: str = "ami") -> list[str]:
    """Check that each end follows the start of its link, and return the reasons of the ends."""
    up, down = LINKS[kind]
    reasons: list[str] = []
    is_up = False
    writer, last_received = 0, 0.0
    for row in await EventLog(url).rows():
        if row["name"] == up:
            assert not is_up, f"position {row['position']}: {up} follows a link without an end"
            is_up, writer = True, row["connection"]
        elif row["name"] == down:
            assert is_up, f"position {row['position']}: {down} ends no link"
            is_up = False
            end = json.loads(row["raw"])
            reasons.append(end["reason"])
            if end["reason"] == LISTENER_DIED:
                assert end["heard"] == pytest.approx(last_received, abs=1e-5)
        if row["connection"] == writer:
            last_received = row["recorded"].timestamp()
    return reasons


def drop(event: NewEvent) -> None:
    """Drop an event, as if the listener had been killed before."""
    del event


async def listen(url: str, spools: Spools, pbx: FakeAmi, *, is_away: bool = False, is_killed: bool = False) -> None:
    """Run a listener, with or without PostgreSQL, until it has received an event; then stop or kill it."""
    logins = pbx.logins
    async with Cable.to_postgresql(url) as cable:
        if is_away:
            cable._server.close()
        listener = Listener(pbx.pbx(), partial(Ingest, cable.url(url), "pbx", spools))
        ingest = listener.ingest
        stop = asyncio.Event()
        running = asyncio.create_task(listener.run(stop))
        appending = asyncio.create_task(ingest.run())
        await eventually(lambda: pbx.logins > logins and pbx.clients)
        event = block("Event: Newexten", f"Uniqueid: {pbx.logins}")
        pbx.send(event)

        async def is_stored() -> bool:
            stored = [row["raw"] for row in await EventLog(url).rows()]
            if is_away:
                stored = [file.read_bytes() for file in spools.folder.glob("*.spool*")]
            return any(event in one for one in stored)

        # Earlier listeners may have left other events in their spools.
        await eventually(is_stored)
        if is_killed:
            ingest.put = drop  # the end of the link is not written
        stop.set()
        await running
        ingest.stop()
        await appending


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_spooled_link_follows_the_previous_end(
    url: str,
    spools: Spools,
    is_killed: bool,  # noqa: FBT001
) -> None:
    """The sequence of seed 345290: the first listener is killed, the second receives without PostgreSQL."""
    async with FakeAmi() as pbx:
        await listen(url, spools, pbx, is_killed=True)
        await listen(url, spools, pbx, is_away=True, is_killed=is_killed)
        await listen(url, spools, pbx)
    last = "listener stopped"
    assert await ends(url) == [LISTENER_DIED, LISTENER_DIED if is_killed else last, last]


async def test_two_spooled_links_have_their_ends(url: str, spools: Spools) -> None:
    async with FakeAmi() as pbx:
        await listen(url, spools, pbx, is_killed=True)
        await listen(url, spools, pbx, is_away=True, is_killed=True)
        await listen(url, spools, pbx, is_away=True, is_killed=True)
        await listen(url, spools, pbx)
    assert await ends(url) == [LISTENER_DIED, LISTENER_DIED, LISTENER_DIED, "listener stopped"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_stopped_process_leaves_no_link_open(url: str, tmp_path: Path, number: signal.Signals) -> None:
    async with FakeAmi() as pbx:
        async with listener_process(url, pbx, tmp_path) as first:
            await wait_connected(pbx, url)
            first.process.kill()
            first.process.wait()
        await eventually(lambda: not pbx.clients)
        async with Cable.to_postgresql(url) as cable:
            cable._server.close()
            async with listener_process(cable.url(url), pbx, tmp_path) as second:
                await eventually(lambda: pbx.clients)
                pbx.send(block("Event: Newexten", "Uniqueid: 2"))
                await eventually(lambda: is_spooled(tmp_path, b"Event: Newexten"))
                second.process.send_signal(number)
                await asyncio.to_thread(second.process.wait)
        await eventually(lambda: not pbx.clients)
        async with listener_process(url, pbx, tmp_path) as third:
            await EventLog(url).until(lambda names: names.count("Connected") >= 3)
            await third.stop()
    assert await ends(url) == [
        LISTENER_DIED,
        LISTENER_DIED if number == signal.SIGKILL else "listener stopped",
        "listener stopped",
    ]
    assert "Newexten" in await EventLog(url).names()


def is_spooled(folder: Path, text: bytes) -> bool:
    return any(text in file.read_bytes() for file in (folder / "spool").glob("*.spool*"))


def link_start(at: float) -> NewEvent:
    return NewEvent("ringledger", "Connected", at, at, b'{"type":"Connected","address":"x"}')


def link_end(at: float) -> NewEvent:
    return NewEvent("ringledger", "Disconnected", at, at, b'{"type":"Disconnected","reason":"cut","heard":%d}' % at)


def ami_event(at: float) -> NewEvent:
    return NewEvent("ami", "Newexten", at, at, block("Event: Newexten", f"At: {at}"))


def leave_spool(spools: Spools, writer: int, first: int, *events: NewEvent) -> None:
    """Leave a spool on disk, as a killed writer of that number does."""
    spool = spools.create("pbx", "ami", writer)
    spool.put(first, events)
    spool._connection.close()


async def append(url: str, writer: int, *events: NewEvent) -> None:
    connection = await asyncpg.connect(url)
    await append_events(connection, "pbx", writer, 1, events)
    await connection.close()


async def take_over(url: str, *writers: int) -> None:
    """Let each of these writers take the lease from the silent writer before it."""
    for writer in writers:
        lease = Lease(url, "pbx", "ami", writer)
        lease._identity = "elsewhere 1 1 1"
        await lease.stand_by(asyncio.Event())
        assert lease.is_held
        lease._close()


@pytest.mark.parametrize("is_first_in_log", [True, False])
async def test_spooled_links_do_not_end_a_newer_link(
    url: str,
    spools: Spools,
    monkeypatch: pytest.MonkeyPatch,
    is_first_in_log: bool,  # noqa: FBT001
) -> None:
    """Writer 5 loses PostgreSQL and spools; 7 takes over elsewhere and dies; a third writer reads 5's spool."""
    monkeypatch.setattr("services.listener.lease.LEASE_SECONDS", 0.0)
    events = [link_start(1.0), ami_event(2.0), link_end(3.0), link_start(4.0), ami_event(5.0)]
    if is_first_in_log:
        await append(url, 5, *events[:2])
        leave_spool(spools, 5, 3, *events[2:])
    else:
        leave_spool(spools, 5, 1, *events)
    await take_over(url, 5, 7)
    elsewhere = Ingest(url, "pbx", Spools(spools.folder / "elsewhere", 1 << 20))
    async with running_ingest(elsewhere):
        for event in (link_start(6.0), ami_event(7.0)):
            elsewhere.put(event)
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        ingest.put(link_start(8.0))
        ingest.put(link_end(9.0))
    assert await ends(url) == ([LISTENER_DIED, LISTENER_DIED, "cut"] if is_first_in_log else [LISTENER_DIED, "cut"])
    names = await EventLog(url).names()
    assert names.count("Superseded") == (2 if is_first_in_log else 3)
    assert names.count("Newexten") == 3
    superseded = await EventLog(url).ours("Superseded")
    assert superseded[-1] == {
        "type": "Superseded",
        "of": "Connected",
        "event": {"type": "Connected", "address": "x"},
    }


async def test_a_link_ended_by_another_ends_once(url: str, spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writer 5 runs without PostgreSQL, while 7 has ended 5's link and has not reached the PBX yet."""
    monkeypatch.setattr("services.listener.lease.LEASE_SECONDS", 0.0)
    await append(url, 5, link_start(1.0), ami_event(2.0))
    leave_spool(spools, 5, 3, link_end(3.0))
    await take_over(url, 5, 7)
    elsewhere = Ingest(url, "pbx", Spools(spools.folder / "elsewhere", 1 << 20), observer=IngestObserver())
    async with running_ingest(elsewhere):
        elsewhere.put(ami_event(6.0))
        await eventually(lambda: elsewhere.last_appended >= 1)
        async with running_ingest(Ingest(url, "pbx", spools)):
            pass
        elsewhere.put(link_start(8.0))
        elsewhere.put(link_end(9.0))
    assert await ends(url) == [LISTENER_DIED, "cut"]
    assert (await EventLog(url).ours("Superseded"))[0]["event"]["reason"] == "cut"


async def test_a_listener_without_the_lease_appends_no_spool(url: str, spools: Spools) -> None:
    await append(url, 7, link_start(1.0))
    leave_spool(spools, 5, 1, link_start(2.0), ami_event(3.0))
    is_over = asyncio.Event()

    async def refuse() -> bool:
        return False

    ingest = Ingest(url, "pbx", spools, still_leader=refuse, on_fenced=is_over.set)
    async with running_ingest(ingest):
        ingest.put(link_start(4.0))
        await asyncio.wait_for(is_over.wait(), TIMEOUT_SECONDS)
    assert await links(url) == ["Connected"]
    (inherited,) = spools.open_inherited("pbx", "ami")
    assert (inherited.writer, inherited.read(9)) == (5, [link_start(2.0), ami_event(3.0)])
    inherited.close()


async def test_a_spool_follows_an_end_after_a_rewind(url: str, spools: Spools) -> None:
    """The log had acknowledged events 1 to 9 of writer 5; it came back with the first two."""
    await append(url, 5, link_start(1.0), ami_event(2.0))
    leave_spool(spools, 5, 10, ami_event(10.0), link_end(11.0), link_start(12.0), ami_event(13.0))
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        ingest.put(link_start(14.0))
        ingest.put(link_end(15.0))
    assert await links(url) == [
        *("Connected", "Disconnected", "Disconnected", "Connected", "Disconnected", "Connected", "Disconnected"),
    ]
    first, *_, last, _ = await EventLog(url).ours("Disconnected")
    assert first == {"type": "Disconnected", "reason": "the log lost what it had acknowledged", "heard": 2.0}
    assert last == {"type": "Disconnected", "reason": LISTENER_DIED, "heard": 13.0}


async def test_spools_keep_their_order_after_clock_jumps(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_spool(spools, 5, 1, ami_event(1.0))
    monkeypatch.setattr("services.listener.backlog.spools.time.time_ns", lambda: 1)
    leave_spool(spools, 6, 1, ami_event(2.0))
    leave_spool(spools, 7, 1, ami_event(3.0))
    inherited = spools.open_inherited("pbx", "ami")
    assert [spool.writer for spool in inherited] == [5, 6, 7]
    for spool in inherited:
        spool.close()


async def test_a_killed_ari_link_has_an_end(url: str, spools: Spools) -> None:
    async with fake_ari(send_and_stay, send_and_stay) as pbx:
        for is_killed in (True, False):
            ingest = Ingest(url, "pbx", spools, "ari")
            stop = asyncio.Event()
            async with running_ingest(ingest):
                running = asyncio.create_task(AriListener(pbx, ingest).run(stop))
                await eventually(lambda ingest=ingest: ingest.last_appended >= 2)  # type: ignore[misc]
                if is_killed:
                    ingest.put = drop
                stop.set()
                await running
    assert await ends(url, "ari") == [LISTENER_DIED, "listener stopped"]
