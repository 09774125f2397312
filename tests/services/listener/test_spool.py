"""The spool: events wait on disk while PostgreSQL takes none, and reach the log once, in order."""

import asyncio
import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from schemas.log import NewEvent
from services.database.cluster import BIN
from services.database.connection import connect
from services.database.embedded import Embedded
from services.database.migrate import migrate
from services.listener import appender
from services.listener import ingest as ingest_module
from services.listener.backlog import backlog as backlog_module
from services.listener.backlog.spool import EVENT_OVERHEAD_BYTES, Spool, SpoolFullError
from services.listener.backlog.spools import Spools
from services.listener.ingest import Ingest
from services.listener.observer import IngestObserver
from tests.support.cable import Cable
from tests.support.event_log import EventLog
from tests.support.ingest import numbered_event, running_ingest
from tests.support.listener import NO_SPOOL
from tests.support.polling import eventually

OPEN_SPOOL = """
import sqlite3, sys
from pathlib import Path
from services.listener.backlog.spool import Spool
try:
    Spool(Path(sys.argv[1]))
except sqlite3.OperationalError as error:
    sys.exit(error.sqlite_errorname)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (backlog_module, ingest_module):
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)


def raws(*numbers: int) -> list[bytes]:
    return [numbered_event(n).raw for n in numbers]


# The file


def test_a_spool_returns_and_counts_events_in_order(spools: Spools) -> None:
    odd = NewEvent("ringledger", "Ä\n", None, 1.5, b"\xff\0")
    spool = spools.create("pbx", "ami", 77)
    spool.put(5, [numbered_event(1), odd])
    spool.put(7, [numbered_event(3)])
    size = len(numbered_event(1).raw) + len(odd.raw) + len(numbered_event(3).raw)
    assert (spool.first, spool.events, spool.bytes) == (5, 3, size + 3 * EVENT_OVERHEAD_BYTES)
    assert spool.read(2) == [numbered_event(1), odd]
    spool.drop(6, len(numbered_event(1).raw) + len(odd.raw))
    assert (spool.first, spool.events, spool.bytes) == (7, 1, len(numbered_event(3).raw) + EVENT_OVERHEAD_BYTES)
    spool.replace(odd)
    assert spool.read(9) == [odd]
    spool.close()
    (inherited,) = spools.open_inherited("pbx", "ami")
    assert (inherited.writer, inherited.first, inherited.events, inherited.bytes) == (
        77,
        7,
        1,
        len(odd.raw) + EVENT_OVERHEAD_BYTES,
    )
    inherited.renumber(88)
    inherited.put(2, [numbered_event(4)])
    inherited.close()
    (inherited,) = spools.open_inherited("pbx", "ami")
    assert (inherited.writer, inherited.first, inherited.read(9)) == (88, 1, [odd, numbered_event(4)])
    assert inherited.discard_after(2.0) == 1
    assert (inherited.read(9), inherited.events) == ([odd], 1)
    inherited.drop(1, len(odd.raw))
    assert inherited.bytes == 0
    inherited.close()
    assert spools.open_inherited("pbx", "ami") == []
    assert list(spools.folder.iterdir()) == []


def test_spools_of_any_names_are_distinct(spools: Spools) -> None:
    names = ["a", "a.b", "../x", "ä*[?]", "a b/%2E"]
    for name in names:
        for kind in ("ami", "ari"):
            spool = spools.create(name, kind, 1)
            spool.put(1, [numbered_event(1)])
            spool.close()
    assert spools.owners() == {(name, kind) for name in names for kind in ("ami", "ari")}
    for name in names:
        for inherited in (matches := spools.open_inherited(name, "ami")):
            inherited.close()
        assert len(matches) == 1


def test_an_open_spool_is_exclusive(spools: Spools) -> None:
    spool = spools.create("pbx", "ami", 1)
    spool.put(1, [numbered_event(1)])
    opened = subprocess.run([sys.executable, "-c", OPEN_SPOOL, spool.file], capture_output=True, text=True, check=False)
    assert opened.stderr.strip() == "SQLITE_BUSY"
    assert spools.open_inherited("pbx", "ami") == []
    spool.close()
    assert subprocess.run([sys.executable, "-c", OPEN_SPOOL, spool.file], check=False).returncode == 0


def test_a_full_disk_stores_no_partial_batch(spools: Spools) -> None:
    spool = spools.create("pbx", "ami", 1)
    spool.put(1, [numbered_event(1)])
    spool._connection.execute("PRAGMA max_page_count = 8")
    with pytest.raises(SpoolFullError, match="full"):
        spool.put(2, [NewEvent("ami", "Giant", None, 1.0, b"x" * 1000) for _ in range(1000)])
    assert (spool.events, spool.read(9)) == (1, [numbered_event(1)])
    spool.put(2, [numbered_event(2)])
    assert spool.read(9) == [numbered_event(1), numbered_event(2)]


def test_a_read_only_disk_drains_a_spool(spools: Spools) -> None:
    spool = spools.create("pbx", "ami", 1)
    spool.put(5, [numbered_event(n) for n in range(5)])
    spool._connection.execute("PRAGMA query_only = ON")
    spool.drop(6, len(numbered_event(0).raw) * 2)
    assert (spool.first, spool.events, spool.read(2)) == (7, 3, [numbered_event(2), numbered_event(3)])
    spool._connection.execute("PRAGMA query_only = OFF")
    spool.drop(7, len(numbered_event(0).raw))
    assert (spool.first, spool.events, spool.bytes) == (8, 2, 2 * (len(numbered_event(0).raw) + EVENT_OVERHEAD_BYTES))
    assert spool._connection.execute("SELECT count(*) FROM event").fetchone() == (2,)
    assert (spool.discard_after(3.5), spool.events) == (1, 1)
    spool._connection.execute("PRAGMA query_only = ON")
    spool.drop(8, len(numbered_event(0).raw))
    spool.close()
    assert list(spools.folder.iterdir()) == []


def test_a_new_writer_skips_rows_already_dropped(spools: Spools) -> None:
    spool = spools.create("pbx", "ami", 1)
    spool.put(1, [numbered_event(n) for n in range(3)])
    spool._connection.execute("PRAGMA query_only = ON")
    spool.drop(2, len(numbered_event(0).raw) * 2)
    spool._connection.execute("PRAGMA query_only = OFF")
    spool.renumber(9)
    spool.close()
    (inherited,) = spools.open_inherited("pbx", "ami")
    assert (inherited.writer, inherited.first, inherited.read(9)) == (9, 1, [numbered_event(2)])
    inherited.close()


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Make every write of this process to a file fail."""
    soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard_limit))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft_limit, hard_limit))


def test_a_full_disk_leaves_no_spool_file(spools: Spools) -> None:
    with full_disk():
        with pytest.raises(SpoolFullError):
            spools.create("pbx", "ami", 1)
        assert spools.probe("pbx", "ami")
        assert list(spools.folder.iterdir()) == []
    assert spools.probe("pbx", "ami") == ""


def test_a_full_disk_still_opens_a_spool(spools: Spools) -> None:
    spool = spools.create("pbx", "ami", 7)
    spool.put(1, [numbered_event(1), numbered_event(2)])
    for file in [*spools.folder.iterdir()]:
        shutil.copy(file, file.with_name(file.name.replace(".ami.", ".ami.1")))
    spool.close()
    spool.file.unlink()
    with full_disk():
        (inherited,) = spools.open_inherited("pbx", "ami")
        assert (inherited.writer, inherited.read(9)) == (7, [numbered_event(1), numbered_event(2)])
        inherited.drop(2, inherited.bytes)
        inherited.close()
    assert list(spools.folder.iterdir()) == []


def test_an_unfinished_spool_file_is_removed(spools: Spools) -> None:
    """An older version created the spool under its final name, and an empty file remained on the full disk."""
    spool = spools.create("pbx", "ami", 1)
    spool.close()
    spool.file.touch()
    unfinished = spool.file.with_name(spool.file.name.replace(".ami.", ".ami.1"))
    with contextlib.closing(sqlite3.connect(unfinished)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert unfinished.stat().st_size
    with full_disk():
        assert spools.owners() == set()
        assert spools.open_inherited("pbx", "ami") == []
    assert list(spools.folder.iterdir()) == []


def test_an_impossible_folder_is_a_full_spool() -> None:
    with pytest.raises(SpoolFullError):
        NO_SPOOL.create("pbx", "ami", 1)


# The writer


@contextlib.asynccontextmanager
async def without_connections(url: str) -> AsyncIterator[str]:
    admin = await asyncpg.connect(url)
    await admin.execute(
        "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0; GRANT ALL ON SCHEMA ledger TO crowded;"
        " GRANT ALL ON ALL TABLES IN SCHEMA ledger TO crowded; ALTER FUNCTION ledger.append SECURITY DEFINER"
    )
    try:
        yield url.replace("ringledger@", "crowded@")
        await admin.execute("ALTER ROLE crowded CONNECTION LIMIT 5")
        await wait_drained(url)
    finally:
        await admin.execute("DROP OWNED BY crowded; DROP ROLE crowded")
        await admin.close()


async def wait_drained(url: str) -> None:
    await EventLog(url).until(lambda names: len(names) >= 500)


async def test_the_writer_without_connections_spools(url: str, spools: Spools) -> None:
    async with without_connections(url) as crowded:
        ingest = Ingest(crowded, "pbx", spools)
        task = asyncio.create_task(ingest.run())
        for n in range(1, 501):
            ingest.put(numbered_event(n))
        await eventually(lambda: ingest.spool_state.events >= 500 and not ingest.waiting)
    ingest.stop()
    await task
    assert [row["raw"] for row in await EventLog(url).rows()] == raws(*range(1, 501))
    assert list(spools.folder.iterdir()) == []


async def test_a_slow_postgresql_gets_spooled_events_once(
    url: str, spools: Spools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "SPILL_AFTER_SECONDS", 0.05)
    for module in (appender, backlog_module, ingest_module):
        monkeypatch.setattr(module, "BATCH_EVENTS", 64)
    async with Cable.to_postgresql(url) as cable, running_ingest(Ingest(cable.url(url), "pbx", spools)) as ingest:
        ingest.put(numbered_event(1))
        await eventually(lambda: ingest.last_appended >= 1)
        cable.delay = 0.1
        spooled = 0
        for n in range(2, 1001):
            ingest.put(numbered_event(n))
            if n % 50 == 0:
                await asyncio.sleep(0.005)
                spooled = max(spooled, ingest.spool_state.events)
        await eventually(lambda: spooled or ingest.spool_state.events)
        cable.delay = 0.0
        await eventually(lambda: ingest.last_appended >= 1000)
        for n in range(1001, 1101):
            ingest.put(numbered_event(n))
        await eventually(lambda: ingest.last_appended >= 1100)
        assert ingest.spool_state.events == 0
    assert [row["raw"] for row in await EventLog(url).rows()] == raws(*range(1, 1101))


async def test_events_are_spooled_before_the_first_connection(
    url: str, spools: Spools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "SPILL_AFTER_SECONDS", 0.05)
    async with Cable.to_postgresql(url) as cable:
        cable.flowing.clear()
        async with running_ingest(Ingest(cable.url(url), "pbx", spools)) as ingest:
            ingest.put(numbered_event(1))
            await eventually(lambda: ingest.spool_state.events >= 1)
            cable.flowing.set()
    assert [row["raw"] for row in await EventLog(url).rows()] == raws(1)


@pytest.mark.parametrize("is_committed", [False, True])
async def test_an_inherited_spool_is_appended_first_and_once(url: str, spools: Spools, is_committed: bool) -> None:  # noqa: FBT001
    """The writer was killed before its last append, or after the commit and before the response."""
    spool = spools.create("pbx", "ami", 5)
    spool.put(1, [numbered_event(n) for n in range(1, 11)])
    if is_committed:
        connection = await asyncpg.connect(url)
        from services.log.append import append_events

        await append_events(connection, "pbx", 5, 1, [numbered_event(n) for n in range(1, 8)])
        await connection.close()
    spool._connection.close()
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        ingest.put(numbered_event(11))
        await eventually(lambda: ingest.last_appended >= 1)
    rows = await EventLog(url).rows()
    assert [row["raw"] for row in rows] == raws(*range(1, 12))
    assert [row["connection"] for row in rows] == [5] * 10 + [ingest.writer]
    assert list(spools.folder.iterdir()) == []


async def test_a_full_disk_drains_into_the_log(url: str, spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spools.create("pbx", "ami", 5)
    spool.put(1, [numbered_event(n) for n in range(1, 11)])
    spool.close()
    open_spool = Spool.__init__

    def open_read_only(self: Spool, file: Path) -> None:
        open_spool(self, file)
        self._connection.execute("PRAGMA query_only = ON")

    monkeypatch.setattr(Spool, "__init__", open_read_only)
    monkeypatch.setattr(ingest_module, "BATCH_EVENTS", 4)
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        ingest.put(numbered_event(11))
        await eventually(lambda: ingest.last_appended >= 1)
        assert not ingest.spool_state.events
    assert [row["raw"] for row in await EventLog(url).rows()] == raws(*range(1, 12))
    assert list(spools.folder.glob("*.spool*")) == []


async def test_a_damaged_spool_page_stops_no_writer(url: str, spools: Spools) -> None:
    spool = spools.create("pbx", "ami", 5)
    giant = NewEvent("ami", "Giant", None, 2.0, b"x" * 200_000)
    spool.put(1, [numbered_event(1), giant, numbered_event(3)])
    spool.close()
    pages = bytearray(await asyncio.to_thread(spool.file.read_bytes))
    number = next(n for n in range(0, len(pages), 4096) if pages[n + 4 : n + 4096] == b"x" * 4092)
    pages[number : number + 4] = b"\x7f\xff\xff\xff"  # the number of the next page
    await asyncio.to_thread(spool.file.write_bytes, pages)
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        ingest.put(numbered_event(4))
        await eventually(lambda: ingest.last_appended >= 1)
        assert "malformed; 2 events are left" in spools.probe("pbx", "ami")
    assert [row["raw"] for row in await EventLog(url).rows()] == raws(1, 4)
    assert spool.file.exists()


async def test_another_ledger_gets_the_whole_spool(url: str, spools: Spools) -> None:
    spool = spools.create("pbx", "ami", 5)
    spool.put(901, [numbered_event(n) for n in range(1, 11)])  # the first 900 are in a ledger that was deleted
    spool.close()
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        await eventually(lambda: not ingest.backlog.inherited_writers and not ingest.spool_state.events)
    assert [row["raw"] for row in await EventLog(url).rows()] == raws(*range(1, 11))


async def test_a_refused_spooled_event_is_logged_as_rejected(url: str, spools: Spools) -> None:
    spool = spools.create("pbx", "ami", 5)
    bad = NewEvent("ami", "NUL\0name", None, 1.0, b"Event: x\r\n\r\n")
    spool.put(1, [numbered_event(1), bad, numbered_event(3)])
    spool.close()
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        await eventually(lambda: not ingest.backlog.disk.inherited)
    assert [row["name"] for row in await EventLog(url).rows()] == ["VarSet", "Rejected", "VarSet"]


async def test_a_full_spool_pauses_reading_until_drained(url: str, tmp_path: Path) -> None:
    changes: list[bool] = []

    class Observer(IngestObserver):
        def on_full_change(self, is_full: bool) -> None:  # noqa: FBT001
            changes.append(is_full)

    async with Cable.to_postgresql(url) as cable:
        cable.flowing.clear()
        spools = Spools(tmp_path / "spool", 20_000)
        async with running_ingest(Ingest(cable.url(url), "pbx", spools, observer=Observer())) as ingest:
            ingest.backlog.spill_due.set()
            for n in range(1, 1001):
                ingest.put(numbered_event(n))
            await eventually(lambda: changes == [True])
            await eventually(lambda: not ingest.waiting)  # the events that were read are in the spool
            assert not ingest.backlog.has_room.is_set()
            assert ingest.spool_state.events == 1000
            cable.flowing.set()
            await eventually(lambda: changes == [True, False])
            assert ingest.backlog.has_room.is_set()
    assert [row["raw"] for row in await EventLog(url).rows()] == raws(*range(1, 1001))


async def test_reading_stops_without_disk_and_postgresql(url: str) -> None:
    async with Cable.to_postgresql(url) as cable:
        cable._server.close()
        async with running_ingest(Ingest(cable.url(url), "pbx", NO_SPOOL)) as ingest:
            for n in range(1, 11):
                ingest.put(numbered_event(n))
            await eventually(lambda: ingest.spool_state.error)
            assert not ingest.backlog.has_room.is_set()
            assert ingest.waiting == 10
            ingest._url = url
            await eventually(lambda: ingest.last_appended >= 10)
            await eventually(ingest.backlog.has_room.is_set)
    assert [row["raw"] for row in await EventLog(url).rows()] == raws(*range(1, 11))


# PostgreSQL itself


async def migrate_schema(url: str) -> None:
    connection = await connect(url)
    await migrate(connection)
    await connection.close()


@pytest.fixture
def embedded(tmp_path: Path) -> Callable[[str], Embedded]:
    return lambda name: Embedded(Path(f"/tmp/ringledger-{name}-{os.getpid()}-{tmp_path.stat().st_ino}"))


async def test_a_restarted_postgresql_gets_all_events_in_order(
    embedded: Callable[[str], Embedded], spools: Spools
) -> None:
    server = embedded("stop")
    await asyncio.to_thread(server.start)
    try:
        await migrate_schema(server.url)
        async with running_ingest(Ingest(server.url, "pbx", spools)) as ingest:
            n = 0
            for how in ("stopped", "killed", "restarted"):
                n = await _put_300(ingest, n)
                await eventually(lambda n=n: ingest.last_appended >= n)  # type: ignore[misc]
                n = await _put_300(ingest, n)
                if how == "killed":
                    pid = (server.cluster.data / "postmaster.pid").read_text().split("\n", 1)[0]
                    os.kill(int(pid), 9)
                else:
                    await asyncio.to_thread(server.stop)
                n = await _put_300(ingest, n)
                if how != "restarted":
                    await eventually(lambda: ingest.spool_state.events and not ingest.waiting)
                await asyncio.to_thread(server.start)
                n = await _put_300(ingest, n)
                await eventually(lambda n=n: ingest.last_appended >= n)  # type: ignore[misc]
        assert [row["raw"] for row in await EventLog(server.url).rows()] == raws(*range(1, n + 1))
    finally:
        await asyncio.to_thread(server.stop)
        server.remove()


async def _put_300(ingest: Ingest, n: int) -> int:
    for more in range(n + 1, n + 301):
        ingest.put(numbered_event(more))
        if more % 100 == 0:
            await asyncio.sleep(0.005)
    return n + 300


async def test_a_failover_has_each_event_once(embedded: Callable[[str], Embedded], spools: Spools) -> None:
    first, second = embedded("first"), embedded("second")
    await asyncio.to_thread(first.start)
    try:
        await migrate_schema(first.url)
        await asyncio.to_thread(_replicate, first, second)
        sockets = ",".join(str(server.cluster.sockets) for server in (first, second))
        url = f"postgresql://ringledger@/postgres?host={sockets}&port=5432,5432&target_session_attrs=read-write"
        async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
            n = await _put_300(ingest, 0)
            await eventually(lambda: ingest.last_appended >= n)
            n = await _put_300(ingest, n)
            os.kill(int((first.cluster.data / "postmaster.pid").read_text().split("\n", 1)[0]), 9)
            n = await _put_300(ingest, n)
            await asyncio.to_thread(second.cluster.run, "pg_ctl", "-D", str(second.cluster.data), "-w", "promote")
            await eventually(lambda: ingest.last_appended >= n)
        assert [row["raw"] for row in await EventLog(second.url).rows()] == raws(*range(1, n + 1))
    finally:
        for server in (first, second):
            await asyncio.to_thread(server.stop)
            server.remove()


def _replicate(primary: Embedded, standby: Embedded) -> None:
    """Make ``standby`` a synchronous replica of ``primary``: both must have a commit before its acknowledgement."""
    standby.cluster.prepare()
    standby.cluster.data.mkdir(mode=0o700)
    standby.cluster.give(standby.cluster.data)
    standby.cluster.run(
        *("pg_basebackup", "-D", str(standby.cluster.data), "-h", str(primary.cluster.sockets), "-U", "ringledger"),
        *("--wal-method=stream", "--checkpoint=fast"),
    )
    (standby.cluster.data / "standby.signal").touch()
    with (standby.cluster.data / "postgresql.conf").open("a") as file:
        file.write(f"primary_conninfo = 'host={primary.cluster.sockets} user=ringledger'\n")
    standby.start()
    alter = "ALTER SYSTEM SET synchronous_standby_names = '*'"
    for sql in (alter, "SELECT pg_reload_conf()"):
        psql = [
            str(BIN / "psql"),
            "-qXh",
            str(primary.cluster.sockets),
            "-U",
            "ringledger",
            "-d",
            "postgres",
            "-c",
            sql,
        ]
        subprocess.run(psql, check=True, capture_output=True)


async def test_an_unreadable_spool_file_stays_and_is_named(
    url: str, spools: Spools, capsys: pytest.CaptureFixture[str]
) -> None:
    spools.folder.mkdir()
    broken = spools.folder / "pbx.ami.1.sqlite"
    broken.write_bytes(b"no database at all" * 100)
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        ingest.put(numbered_event(1))
        await eventually(lambda: ingest.last_appended >= 1)
    assert broken.exists()
    assert str(broken) in capsys.readouterr().out
    with pytest.raises(sqlite3.DatabaseError):
        Spool(broken)
