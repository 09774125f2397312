"""One listener, one PBX: links that come and go, and their events in the log."""

import asyncio
import itertools
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas.log import NewEvent
from services.asterisk.ami import lists
from services.asterisk.ami import protocol as protocol_module
from services.asterisk.ami import session as session_module
from services.asterisk.ami import snapshots as snapshot_module
from services.listener import ami as listener_module
from services.listener.ami import Listener, MakeIngest
from services.listener.backlog import backlog as backlog_module
from services.listener.backlog.spools import Spools
from services.listener.ingest import Ingest
from services.runtime.backoff import Backoff
from services.runtime.clock import Clock
from tests.support.cable import Cable
from tests.support.event_log import EventLog
from tests.support.fake_ami import FakeAmi, block
from tests.support.listener import listener_task
from tests.support.polling import TIMEOUT_SECONDS, eventually

SETTLE = 0.1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the intervals to hundredths."""
    monkeypatch.setattr(session_module, "PING_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(session_module, "PONG_TIMEOUT_SECONDS", TIMEOUT_SECONDS)  # a busy machine loses no link
    monkeypatch.setattr(listener_module, "RETRY", Backoff(0.01, 0.05))
    monkeypatch.setattr(listener_module, "REFUSED_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(snapshot_module, "SETTLE_SECONDS", SETTLE)


def links(names: list[str]) -> list[str]:
    return [name for name in names if name in {"Connected", "Disconnected"}]


def is_paired(names: list[str]) -> bool:
    pairs = itertools.cycle(["Connected", "Disconnected"])
    events = links(names)
    return len(events) % 2 == 0 and all(a == b for a, b in zip(events, pairs, strict=False))


async def test_connected_precedes_all_events_of_the_link(url: str) -> None:
    async with FakeAmi() as pbx:
        pbx.welcome += block("Event: Newchannel", "Uniqueid: 1")  # in one read with the response to the login
        async with listener_task(url, pbx.pbx()):
            await EventLog(url).until(lambda names: "Newchannel" in names)
    names = await EventLog(url).names()
    assert names[:3] == ["Connected", "FullyBooted", "Newchannel"]
    assert names[-1] == "Disconnected"
    assert (await EventLog(url).ours("Connected"))[0]["banner"] == "Asterisk Call Manager/11.0.0"
    assert (await EventLog(url).ours("Disconnected"))[0]["reason"] == "listener stopped"


async def test_the_login_sends_no_secret(url: str) -> None:
    async with FakeAmi() as pbx, listener_task(url, pbx.pbx()):
        await eventually(lambda: pbx.logins)
        assert "Secret" not in pbx.actions_named("Login")[0]
        assert pbx.actions_named("Login")[0]["AuthType"] == "MD5"


async def test_a_failing_pbx_does_not_disturb_another(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take = lists.take_snapshot
    failures = 0

    async def take_or_fail(session: session_module.Session, *rest: Any, **state: Any) -> object:
        nonlocal failures
        if session.pbx.name == "bad" and failures < 2:
            failures += 1
            raise KeyError("a bug")
        return await take(session, *rest, **state)

    monkeypatch.setattr(snapshot_module, "take_snapshot", take_or_fail)
    monkeypatch.setattr("services.runtime.supervise.RESTART", Backoff(0.02, 30.0))
    async with FakeAmi() as good, FakeAmi() as bad:
        absent = good.pbx("absent", port=1)
        async with listener_task(url, absent, good.pbx("good"), bad.pbx("bad")):
            await EventLog(url).until(lambda names: "SnapshotCompleted" in names, "bad")
            good.send(block("Event: Newchannel", "Uniqueid: 1"))
            await EventLog(url).until(lambda names: "Newchannel" in names, "good")
    assert failures == 2
    assert links(await EventLog(url).names("good")) == ["Connected", "Disconnected"]
    assert links(await EventLog(url).names("bad")) == ["Connected", "Disconnected"] * 3
    assert "listener failed: KeyError" in (await EventLog(url).ours("Disconnected", "bad"))[0]["reason"]
    assert await EventLog(url).names("absent") == []


async def test_a_cut_without_fin_is_noticed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "PONG_TIMEOUT_SECONDS", 2.0)
    async with FakeAmi() as pbx, Cable(pbx.port) as cable, listener_task(url, pbx.pbx(port=cable.port)):
        await EventLog(url).until(lambda names: "SnapshotCompleted" in names)
        cable.flowing.clear()
        await EventLog(url).until(lambda names: "Disconnected" in names)
        monkeypatch.setattr(session_module, "PONG_TIMEOUT_SECONDS", TIMEOUT_SECONDS)
        cable.flowing.set()
        names = await EventLog(url).until(lambda names: names.count("SnapshotCompleted") >= 2)
        assert links(names) == ["Connected", "Disconnected", "Connected"]
        assert "no Pong" in (await EventLog(url).ours("Disconnected"))[0]["reason"]


async def test_a_link_with_events_needs_pongs_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "PONG_TIMEOUT_SECONDS", 0.3)
    async with FakeAmi() as pbx:
        pbx.replies["Ping"] = lambda _: b""
        async with listener_task(url, pbx.pbx()):
            await eventually(lambda: pbx.logins)
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while pbx.logins == 1:
                    pbx.send(block("Event: Newchannel", "Uniqueid: 1"))
                    await asyncio.sleep(0.01)
        assert is_paired(await EventLog(url).names())


async def test_a_listener_waits_longer_during_a_flood(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "FLOOD_BYTES_PER_SECOND", 1000)
    monkeypatch.setattr(session_module, "PONG_TIMEOUT_SECONDS", 2.0)
    async with FakeAmi() as pbx:
        pongs: list[bytes] = []

        def reply_late(headers: dict[str, str]) -> bytes:
            pongs.append(block("Response: Success", f"ActionID: {headers['ActionID']}", "Ping: Pong"))
            return b"" if len(pongs) < 4 else pongs[-1]

        pbx.replies["Ping"] = reply_late
        async with listener_task(url, pbx.pbx()):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while len(pongs) < 5:
                    pbx.send(block("Event: VarSet", "Variable: x", f"Value: {'x' * 200}"))
                    await asyncio.sleep(0.005)
        assert pbx.logins == 1


async def test_a_link_closed_by_the_pbx_is_reopened(url: str) -> None:
    async with FakeAmi() as pbx:
        async with listener_task(url, pbx.pbx()):
            for count in range(1, 6):
                await eventually(lambda: pbx.logins >= count and pbx.clients)  # noqa: B023
                pbx.cut()
        names = await EventLog(url).names()
        assert links(names).count("Connected") >= 5
        assert is_paired(names)


async def test_links_that_end_immediately_back_off(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    link = Listener._link

    async def record_wait(self: Listener) -> float:
        waits.append(await link(self))
        return 0.0

    monkeypatch.setattr(listener_module, "RETRY", Backoff(0.2, 2.0))
    monkeypatch.setattr(Listener, "_link", record_wait)
    async with FakeAmi() as pbx:
        pbx.hangs_up_at.add("Challenge")
        async with listener_task(url, pbx.pbx()):
            await eventually(lambda: len(waits) >= 8)
    bounds = [min(2.0, 0.2 * 2 ** (n + 1)) for n in range(8)]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=False))
    assert len(set(waits)) > 4  # jitter


async def test_a_refused_login_is_logged_once_per_message(url: str) -> None:
    async with FakeAmi(secret="another") as pbx:
        async with listener_task(url, pbx.pbx()):
            await eventually(lambda: len(pbx.actions_named("Login")) >= 3)
            pbx.refusal = "Account locked"
            count = len(pbx.actions_named("Login"))
            await eventually(lambda: len(pbx.actions_named("Login")) >= count + 3)
            pbx.secret = "secret"
            await EventLog(url).until(lambda names: "Connected" in names)
        assert [e["message"] for e in await EventLog(url).ours("LoginRefused")] == [
            "Authentication failed",
            "Account locked",
        ]
        assert is_paired(await EventLog(url).names())


async def test_a_silent_port_times_out(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "CONNECT_TIMEOUT_SECONDS", 0.05)
    async with FakeAmi() as pbx, Cable(pbx.port) as cable:
        cable.flowing.clear()
        async with listener_task(url, pbx.pbx(port=cable.port)):
            await eventually(lambda: len(cable._writers) >= 6)
            assert pbx.logins == 0
            monkeypatch.setattr(session_module, "CONNECT_TIMEOUT_SECONDS", TIMEOUT_SECONDS)
            cable.flowing.set()
            await eventually(lambda: pbx.logins)


async def test_many_reloads_are_one_snapshot(url: str) -> None:
    async with FakeAmi() as pbx, listener_task(url, pbx.pbx()):
        await EventLog(url).until(lambda names: "SnapshotCompleted" in names)
        for module in range(50):
            pbx.send(block("Event: Reload", f"Module: {module}"))
        await EventLog(url).until(lambda names: names.count("SnapshotCompleted") >= 2)
        pbx.send(block("Event: Newchannel", "Uniqueid: 1"))
        await EventLog(url).until(lambda names: "Newchannel" in names)
        pings = len(pbx.actions_named("Ping"))
        await eventually(lambda: len(pbx.actions_named("Ping")) > pings + 5)  # longer than it takes to settle
        assert (await EventLog(url).names()).count("SnapshotStarted") == 2


async def test_epochs_rise_within_a_second_and_over_restarts(url: str) -> None:
    async with FakeAmi() as pbx:
        for run in range(3):
            async with listener_task(url, pbx.pbx()):
                for more in range(2):
                    done = 2 * run + more + 1
                    await EventLog(url).until(lambda names, done=done: names.count("SnapshotCompleted") >= done)  # type: ignore[misc]
                    pbx.send(block("Event: Reload", "Module: x"))
    epochs = [e["epoch"] for e in await EventLog(url).ours("SnapshotStarted")]
    assert len(epochs) >= 6
    assert epochs == sorted(set(epochs))


async def test_epochs_rise_after_a_clock_set_back(url: str, spools: Spools) -> None:
    writer = Ingest(url, "pbx", spools)
    future = 10**10
    writer.put(NewEvent("ringledger", "SnapshotStarted", None, 0.0, b'{"type":"SnapshotStarted","epoch":%d}' % future))
    writer.stop()
    await writer.run()
    async with FakeAmi() as pbx, listener_task(url, pbx.pbx()):
        await EventLog(url).until(lambda names: names.count("SnapshotStarted") >= 2)
    assert (await EventLog(url).ours("SnapshotStarted"))[1]["epoch"] == future + 1


async def test_the_next_listener_logs_the_missing_end(url: str, spools: Spools) -> None:
    async with FakeAmi() as pbx:
        killed = Ingest(url, "pbx", spools)
        killed.put(NewEvent("ringledger", "Connected", None, 1000.0, b'{"type":"Connected","address":"x"}'))
        killed.put(NewEvent("ami", "Newchannel", None, 1001.5, block("Event: Newchannel")))
        killed.stop()
        await killed.run()
        async with listener_task(url, pbx.pbx()):
            await EventLog(url).until(lambda names: names.count("Connected") >= 2)
        names = await EventLog(url).names()
        assert names[:4] == ["Connected", "Newchannel", "Disconnected", "Connected"]
        assert is_paired(names)
        assert (await EventLog(url).ours("Disconnected"))[0]["heard"] == 1001.5
        async with listener_task(url, pbx.pbx()):
            await eventually(lambda: pbx.logins >= 2)
        assert is_paired(await EventLog(url).names())


REWIND = """
WITH last_kept AS (
    SELECT last, hash, ordinal + last - first AS ordinal FROM ledger.batch WHERE last >= $1 ORDER BY last LIMIT 1
),
lost AS (DELETE FROM ledger.event USING last_kept WHERE position > last_kept.last),
batches AS (DELETE FROM ledger.batch USING last_kept WHERE ledger.batch.last > last_kept.last),
head AS (UPDATE ledger.head SET position = last_kept.last, hash = last_kept.hash FROM last_kept)
UPDATE ledger.connection SET last_ordinal = last_kept.ordinal, last_recorded = to_timestamp(1000) FROM last_kept
"""


async def test_a_rewound_log_has_a_gap(url: str) -> None:
    """PostgreSQL fails over to a replica that was behind."""
    admin = await asyncpg.connect(url)
    async with FakeAmi() as pbx, listener_task(url, pbx.pbx()):
        names = await EventLog(url).until(lambda names: "SnapshotCompleted" in names)
        pbx.send(block("Event: Lost"))
        await EventLog(url).until(lambda names: "Lost" in names)
        await admin.execute(REWIND, len(names))
        pbx.send(block("Event: Kept"))
        await EventLog(url).until(lambda names: names.count("SnapshotCompleted") >= 2)
    await admin.close()
    names = await EventLog(url).names()
    assert "Lost" not in names
    assert [n for n in names if n in {"Connected", "Disconnected", "Kept"}][:5] == [
        *("Connected", "Disconnected", "Kept", "Disconnected", "Connected"),
    ]
    ends = await EventLog(url).ours("Disconnected")
    assert (ends[0]["heard"], ends[0]["reason"]) == (1000.0, "the log lost what it had acknowledged")


@asynccontextmanager
async def linked(pbx: FakeAmi, make_ingest: MakeIngest) -> AsyncIterator[Listener]:
    """Run a listener until its link is up, without a writer for its events."""
    listener = Listener(pbx.pbx(), make_ingest)
    stop = asyncio.Event()
    running = asyncio.create_task(listener.run(stop))
    await eventually(lambda: listener.link_up)
    yield listener
    stop.set()
    await running


async def test_a_flood_pauses_reading_until_half_is_appended(
    url: str, monkeypatch: pytest.MonkeyPatch, spools: Spools
) -> None:
    monkeypatch.setattr(backlog_module, "SPILL_EVENTS", 150)
    monkeypatch.setattr(backlog_module, "MAX_EVENTS", 200)
    monkeypatch.setattr(session_module, "PONG_TIMEOUT_SECONDS", 0.1)
    async with FakeAmi() as pbx, linked(pbx, partial(Ingest, url, "pbx", spools)) as listener:
        ingest = listener.ingest
        wire = block("Event: VarSet", "Variable: x", f"Value: {'x' * 400}")
        total = 0
        while ingest.backlog.has_room.is_set() or pbx.clients[0].transport.get_write_buffer_size() < 1 << 16:
            pbx.send(wire * 1000)
            total += 1000
            await asyncio.sleep(0)
        waiting = ingest.waiting
        assert waiting < 3000  # one read may exceed the limit; the rest stays in the socket
        pings = len(pbx.actions_named("Ping"))
        await eventually(lambda: len(pbx.actions_named("Ping")) > pings + 2)  # the paused link is not lost
        assert listener.link_up
        assert ingest.waiting == waiting
        appending = asyncio.create_task(ingest.run())
        await eventually(lambda: ingest.last_appended > total)
    ingest.stop()
    await appending
    names = await EventLog(url).names("pbx", "ami")
    assert names.count("VarSet") == total
    assert pbx.logins == 1


async def test_reading_is_slower_with_a_large_backlog(
    url: str, monkeypatch: pytest.MonkeyPatch, spools: Spools
) -> None:
    monkeypatch.setattr(backlog_module, "BEHIND_EVENTS", 500)
    turns: list[float] = []
    async with FakeAmi() as pbx, linked(pbx, partial(Ingest, url, "pbx", spools)) as listener:
        ingest = listener.ingest
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def record_delay(delay: float, *call: Any, **context: Any) -> asyncio.TimerHandle:
            turns.append(delay)
            return call_later(delay, *call, **context)

        monkeypatch.setattr(loop, "call_later", record_delay)
        wire = block("Event: VarSet", "Variable: x", f"Value: {'x' * 1000}")
        while protocol_module.LONG_PAUSE_SECONDS not in turns:
            pbx.send(wire * 1000)
            await asyncio.sleep(0)
        appending = asyncio.create_task(ingest.run())
        await eventually(lambda: not ingest.waiting)
        turns.clear()
        while protocol_module.PAUSE_SECONDS not in turns:  # without a backlog reading is as fast as before
            pbx.send(wire * 200)
            await asyncio.sleep(0)
            await eventually(lambda: ingest.waiting < 100)
    ingest.stop()
    await appending


async def test_minutes_count_events_of_all_links(url: str, spools: Spools) -> None:
    async with FakeAmi() as pbx:
        now = 30_000_000 * 60 - 1.5
        listener = Listener(pbx.pbx(), partial(Ingest, url, "pbx", spools), Clock(now=lambda: now))
        stop = asyncio.Event()
        running = asyncio.create_task(listener.run(stop))
        for link in (1, 2):
            await eventually(lambda: pbx.logins >= link and listener.link_up)  # noqa: B023
            pbx.send(block("Event: Newchannel") + block("Nonsense: 1") + block("Event: Newchannel"))
            await eventually(lambda: listener.total_counts() == (3 * link, link, 15 * link))  # noqa: B023
            if link == 1:
                pbx.cut()
                await eventually(lambda: not listener.link_up)

        def minutes() -> list[dict[str, Any]]:
            return [msgspec.json.decode(e.raw) for e in listener.ingest.backlog.memory.events if e.name == "Minute"]

        now += 1.6
        await eventually(minutes)
        stop.set()
        await running
    assert minutes()[0]["minute"] == 30_000_000 * 60
    assert minutes()[-1]["link"] == "up"
    assert [sum(m[count] for m in minutes()) for count in ("events", "rejected_blocks", "rejected_bytes")] == [6, 2, 30]


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return key, cert


async def test_tls_needs_the_right_ca_or_none(url: str, tmp_path: Path) -> None:
    key, cert = certificate(tmp_path, "pbx")
    _, other = certificate(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with FakeAmi(tls=context) as pbx:
        with_ca = pbx.pbx("with-ca", tls=True, ca_file=str(cert))
        unverified = pbx.pbx("unverified", tls=True, verify=False)
        refused = [
            pbx.pbx("other-ca", tls=True, ca_file=str(other)),
            pbx.pbx("no-ca", tls=True),
            pbx.pbx("missing", tls=True, ca_file=str(tmp_path / "none.pem")),
            pbx.pbx("plain"),
        ]
        async with listener_task(url, with_ca, unverified, *refused):
            for name in ("with-ca", "unverified"):
                await EventLog(url).until(lambda names: "SnapshotCompleted" in names, name)
            pbx.send(block("Event: Newchannel", "CallerIDName: René"))
            for name in ("with-ca", "unverified"):
                await EventLog(url).until(lambda names: "Newchannel" in names, name)
        for pbx_settings in refused:
            assert await EventLog(url).names(pbx_settings.name) == []
