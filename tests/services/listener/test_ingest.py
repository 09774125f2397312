"""The writer while PostgreSQL is down, hangs, loses data, or refuses an event."""

import base64
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import msgspec
import pytest
from structlog.testing import capture_logs

from schemas.log import NewEvent
from services.asterisk.ami.protocol import LedgerProtocol
from services.database.locks import Lock, locked
from services.listener import ingest as ingest_module
from services.listener.backlog import backlog as backlog_module
from services.listener.backlog import batch as batch_module
from services.listener.backlog.spools import Spools
from services.listener.ingest import Ingest
from tests.support.cable import Cable
from tests.support.event_log import EventLog
from tests.support.fake_ami import FakeAmi, block
from tests.support.ingest import numbered_event, running_ingest
from tests.support.listener_process import listener_process, wait_connected
from tests.support.polling import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (backlog_module, ingest_module):
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)


async def test_events_are_appended_once_over_bad_connections(url: str, spools: Spools) -> None:
    async with Cable.to_postgresql(url) as cable:
        cable.lose_answer = b"s\0\0\0\4Z\0\0\0\5I"  # committed, but the response is lost
        async with running_ingest(Ingest(cable.url(url), "pbx", spools)) as ingest:
            for n in range(1, 400):
                ingest.put(numbered_event(n))
                if n % 100 == 0:
                    await eventually(lambda n=n: ingest.last_appended >= n)  # type: ignore[misc]
                    cable.cut()
        assert cable.lost == 1
    rows = await EventLog(url).rows()
    assert [row["raw"] for row in rows] == [numbered_event(n).raw for n in range(1, 400)]


@pytest.mark.parametrize("how", ["terminated", "renamed", "full"])
async def test_the_writer_survives_errors_of_postgresql(url: str, how: str, spools: Spools) -> None:
    admin = await asyncpg.connect(url)
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        ingest.put(numbered_event(1))
        await eventually(lambda: ingest.last_appended >= 1)
        if how == "terminated":  # as by a restart; the error is not a PostgresConnectionError
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        elif how == "renamed":
            await admin.execute("ALTER SCHEMA ledger RENAME TO elsewhere")
        else:
            await admin.execute(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
                " $$BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END$$;"
                " CREATE TRIGGER full_disk BEFORE INSERT ON ledger.event EXECUTE FUNCTION full_disk()"
            )
        ingest.put(numbered_event(2))
        if how != "terminated":
            await eventually(lambda: ingest._unreachable_since)
            assert ingest.waiting + ingest.spool_state.events == 1
        if how == "renamed":
            await admin.execute("ALTER SCHEMA elsewhere RENAME TO ledger")
        elif how == "full":
            await admin.execute("DROP TRIGGER full_disk ON ledger.event")
        await eventually(lambda: ingest.last_appended >= 2)
    await admin.close()
    assert [row["raw"] for row in await EventLog(url).rows()] == [numbered_event(1).raw, numbered_event(2).raw]


async def test_a_rewound_database_gets_the_remaining_events(url: str, spools: Spools) -> None:
    admin = await asyncpg.connect(url)
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        ingest.put(numbered_event(1))
        await eventually(lambda: ingest.last_appended >= 1)
        await admin.execute(
            "DELETE FROM ledger.connection; TRUNCATE ledger.event, ledger.batch; UPDATE ledger.head SET position = 0"
        )
        ingest.put(numbered_event(2))
        await eventually(lambda: not ingest.waiting)
    await admin.close()
    assert [row["raw"] for row in await EventLog(url).rows()] == [numbered_event(2).raw]


async def test_a_held_append_lock_leaves_no_session_waiting(
    url: str, spools: Spools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that a listener gave up waited on, and after some hours there were no connections left."""
    monkeypatch.setattr("services.database.connection.LOCK_TIMEOUT", "20ms")
    admin = await asyncpg.connect(url)
    with capture_logs() as lines:
        async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
            async with locked(admin, Lock.APPEND):
                ingest.put(numbered_event(1))
                await eventually(lambda: [line for line in lines if line["event"] == "log_unreachable"])
            await eventually(lambda: ingest.last_appended >= 1)
    await admin.close()
    errors = [line["error"] for line in lines if line["event"] == "log_unreachable"]
    assert errors[0].startswith("LockNotAvailableError")
    assert [row["raw"] for row in await EventLog(url).rows()] == [numbered_event(1).raw]


REFUSABLE = [
    NewEvent("ami", "NUL\0name", None, 1.0, b"Event: 1\r\n\r\n"),
    NewEvent("ami", "\ud800", None, 1.0, b"Event: 2\r\n\r\n"),
    NewEvent("ami", "Late", 1e300, 1.0, b"\xff\0Event: 3\r\n\r\n"),
    NewEvent("ami", "Never", float("nan"), 1.0, b"Event: 4\r\n\r\n"),
    NewEvent("nobody", "Source", None, 1.0, b"Event: 5\r\n\r\n"),  # type: ignore[arg-type]
]


async def test_a_refused_event_is_logged_as_rejected(url: str, spools: Spools) -> None:
    events = [numbered_event(n) for n in range(1, 101)]
    for index, refusable in zip((0, 17, 18, 60, 104), REFUSABLE, strict=True):
        events.insert(index, refusable)
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        for sent in events:
            ingest.put(sent)
    rows = await EventLog(url).rows()
    assert len(rows) == len(events)
    for sent, row in zip(events, rows, strict=True):
        if sent in REFUSABLE:
            assert (row["source"], row["name"]) == ("ringledger", "Rejected")
            rejected = msgspec.json.decode(row["raw"])
            assert base64.b64decode(rejected["raw"]) == sent.raw
            assert rejected["of"] == sent.source
            assert rejected["error"]
        else:
            assert (row["name"], row["raw"]) == (sent.name, sent.raw)


async def test_postgresql_refuses_no_event_of_a_pbx(url: str, spools: Spools) -> None:
    wire = b"".join(
        [
            b"Event: a\0b\r\n\r\n",
            b"Event: \xff\xfe\xed\xa0\x80\r\nTimestamp: 1e300\r\n\r\n",
            b"Event: " + b"x" * 10_000 + b"\r\nTimestamp: nan\r\n\r\n",
            b"Event:\r\nTimestamp: -1e10\r\n\r\n",
            b"Event: x\r\nTimestamp: inf\r\n\r\n",
            b"Event: x\r\nTimestamp: 9999999999.999999\r\n\r\n",
            b"Response: Success\r\nActionID: ringledger/1/a\0\xffb\r\n\r\n",
            b"Response: Success\r\nActionID: ringledger/1/" + b"y" * 10_000 + b"\r\n\r\n",
        ]
    )
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        protocol = LedgerProtocol(ingest.backlog.put_all, lambda _: None)
        protocol.data_received(b"Asterisk Call Manager/11\0\xff\r\n")
        protocol.data_received(wire)
        assert protocol.rejected_blocks == 0
    rows = await EventLog(url).rows()
    assert b"".join(row["raw"] for row in rows) == wire
    assert "Rejected" not in {row["name"] for row in rows}


async def test_large_events_are_appended_in_several_batches(
    url: str, monkeypatch: pytest.MonkeyPatch, spools: Spools
) -> None:
    monkeypatch.setattr(batch_module, "BATCH_BYTES", 1000)
    giants = [NewEvent("ami", "Giant", None, 1.0, b"x" * size) for size in (10, 3000, 400, 400, 400, 5000, 1)]
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        for giant in giants:
            ingest.put(giant)
        await eventually(lambda: not ingest.waiting)
        assert ingest.backlog.memory.bytes == 0
    assert [len(row["raw"]) for row in await EventLog(url).rows()] == [10, 3000, 400, 400, 400, 5000, 1]


async def in_a_snapshot(pbx: FakeAmi, _url: str) -> None:
    await eventually(lambda: pbx.actions_named("CoreShowChannels"))


async def refused(pbx: FakeAmi, url: str) -> None:
    await eventually(lambda: pbx.actions_named("Login"))
    await EventLog(url).until(lambda names: "LoginRefused" in names)


async def reconnecting(pbx: FakeAmi, url: str) -> None:
    await wait_connected(pbx, url)
    pbx.server.close()
    pbx.cut()
    await EventLog(url).until(lambda names: "Disconnected" in names)


@pytest.mark.parametrize("when", [wait_connected, in_a_snapshot, reconnecting, refused])
async def test_sigterm_appends_all_events_and_exits_0(
    url: str, tmp_path: Path, when: Callable[[FakeAmi, str], Awaitable[None]]
) -> None:
    async with FakeAmi() as pbx:
        if when is in_a_snapshot:
            pbx.replies["CoreShowChannels"] = lambda h: block(
                "Response: Success", f"ActionID: {h['ActionID']}", "EventList: start"
            )
        if when is refused:
            pbx.secret = "another"
        async with listener_process(url, pbx, tmp_path) as listener:
            await when(pbx, url)
            await listener.stop()
        names = [n for n in await EventLog(url).names() if n in {"Connected", "Disconnected"}]
        assert names == ([] if when is refused else ["Connected", "Disconnected"])
        assert not listener.log_lines("events_not_written")


@pytest.mark.parametrize("how", ["gone", "hanging"])
async def test_sigterm_without_postgresql_spools_and_exits_0(url: str, tmp_path: Path, how: str) -> None:
    async with FakeAmi() as pbx, Cable.to_postgresql(url) as cable:
        async with listener_process(cable.url(url), pbx, tmp_path) as listener:
            await wait_connected(pbx, url)
            if how == "gone":
                cable._server.close()
                cable.cut()
            else:
                cable.flowing.clear()
            sent = [block("Event: Newexten", f"Uniqueid: {n}") for n in range(1000)]
            pbx.send(b"".join(sent))
            count = len(pbx.actions)
            pbx.send(block("Event: Reload"))
            await eventually(lambda: len(pbx.actions) > count)  # the listener has read all events before it
            await listener.stop()
        assert listener.log_lines("events_spooled")[0]["events"] >= 1001
        assert not listener.log_lines("events_not_written")
        if how == "hanging":
            cable.flowing.set()
    async with FakeAmi() as pbx, listener_process(url, pbx, tmp_path) as listener:
        await EventLog(url).until(lambda names: names.count("Connected") >= 2)
        assert listener.log_lines("spool_taken_up")
    rows = await EventLog(url).rows()
    assert [row["raw"] for row in rows if row["name"] == "Newexten"] == sent
    links = [row["name"] for row in rows if row["name"] in {"Connected", "Disconnected"}]
    assert links == ["Connected", "Disconnected", "Connected"]
    assert not list((tmp_path / "spool").iterdir())
