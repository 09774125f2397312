"""Spools of PBXes with any name, spools of older versions, and disks that accept none."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from schemas.log import NewEvent
from schemas.settings import Settings
from services.listener.backlog import disk_queue
from services.listener.backlog.spool import Spool, create_spool
from services.listener.backlog.spools import Spools
from services.listener.ingest import Ingest
from services.listener.process import listen
from services.runtime.private import open_private
from services.runtime.settings import MAX_NAME_LENGTH, SettingsError, load_settings
from tests.support.fake_ami import FakeAmi
from tests.support.ingest import numbered_event, running_ingest
from tests.support.listener import NO_SPOOL
from tests.support.polling import TIMEOUT_SECONDS, eventually
from tests.support.settings import SECRET

UNREACHABLE = "postgresql://nobody@127.0.0.1:1/none"
NAMES = ("Ж" * 40, "☎" * MAX_NAME_LENGTH, "a.b", "../x", "spool", "a" * 32)


@pytest.mark.parametrize("name", NAMES)
async def test_a_stopped_writer_spools_under_any_name(spools: Spools, name: str) -> None:
    async with running_ingest(Ingest(UNREACHABLE, name, spools)) as ingest:
        for n in range(100):
            ingest.put(numbered_event(n))
    assert spools.owners() == {(name, "ami")}
    (inherited,) = spools.open_inherited(name, "ami")
    assert [e.raw for e in inherited.read(200)] == [numbered_event(n).raw for n in range(100)]
    inherited.close()


def test_spools_of_older_versions_are_read(spools: Spools) -> None:
    spools.folder.mkdir()
    for number, name in enumerate(("pbx", "a.b ü")):
        file = f"{quote(name, safe='').replace('.', '%2E')}.ari.{time.time_ns()}.sqlite"
        old = create_spool(spools.folder / file, 7, name, "ari")
        old.put(1, [numbered_event(number)])
        old._connection.execute("DROP TABLE about")
        old.close()
        new = spools.create(name, "ari", 8)
        new.put(1, [numbered_event(9)])
        new.close()
    assert spools.owners() == {("pbx", "ari"), ("a.b ü", "ari")}
    for number, name in enumerate(("pbx", "a.b ü")):
        old, new = spools.open_inherited(name, "ari")
        assert (old.writer, old.read(9), new.writer, new.read(9)) == (
            7,
            [numbered_event(number)],
            8,
            [numbered_event(9)],
        )
        for spool in (old, new):
            spool.drop(1, len(numbered_event(9).raw))
            spool.close()
    assert list(spools.folder.iterdir()) == []


async def test_a_copied_spool_stops_no_listener(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o700)
    for name in ("pbx.ami.1.old.sqlite", "x.y.z.sqlite", "...sqlite"):
        (folder / name).write_bytes(b"copy")
    stranger = create_spool(folder / "a.b.1.spool", 7, "other", "later kind")
    stranger.put(1, [numbered_event(1)])
    stranger.close()
    stop = asyncio.Event()
    async with FakeAmi() as fake:
        running = asyncio.create_task(listen(Settings(ami=(fake.pbx(),), data=tmp_path), url, stop))
        await eventually(lambda: fake.logins or running.done())
        stop.set()
        await running
    assert fake.logins == 1


def test_an_open_spool_has_no_owner(spools: Spools) -> None:
    spool = spools.create("pbx", "ami", 1)
    assert spools.owners() == set()
    spool.close()


def test_a_briefly_busy_spool_is_read(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spools.create("pbx", "ami", 1)
    spool.put(1, [numbered_event(1)])
    monkeypatch.setattr(time, "sleep", lambda _seconds: spool.close())
    (inherited,) = spools.open_inherited("pbx", "ami")
    assert inherited.read(9) == [numbered_event(1)]
    inherited.close()


def test_probes_of_two_processes_do_not_collide(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    barrier, put = threading.Barrier(2, timeout=TIMEOUT_SECONDS), Spool.put

    def put_together(spool: Spool, first: int, events: Sequence[NewEvent]) -> None:
        barrier.wait()
        put(spool, first, events)

    monkeypatch.setattr(Spool, "put", put_together)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: spools.probe("pbx", "ami"), range(2))) == ["", ""]
    assert list(spools.folder.iterdir()) == []


def test_a_stale_probe_is_removed(spools: Spools) -> None:
    spools.folder.mkdir(mode=0o700)
    stale = (spools.folder / "a.ami.1.probe-wal", spools.folder / "a.ami.1.spool.new")
    live = spools.folder / "a.ami.2.probe"
    for file in (*stale, live):
        file.touch()
    for file in stale:
        os.utime(file, (0, 0))
    assert spools.probe("pbx", "ami") == ""
    assert list(spools.folder.iterdir()) == [live]


def test_a_live_probe_survives_a_clock_jump(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    spools.folder.mkdir(mode=0o700)
    live = spools.folder / "a.ami.1.probe"
    live.touch()
    back = time.time() - 12 * 3600
    monkeypatch.setattr(time, "time", lambda: back)
    assert spools.probe("pbx", "ami") == ""
    assert list(spools.folder.iterdir()) == [live]


async def test_an_unusable_disk_is_reported_at_start(url: str) -> None:
    async with running_ingest(Ingest(url, "pbx", NO_SPOOL)) as ingest:
        error = await eventually(lambda: ingest.spool_state.error)
        assert "/dev/null" in error
        ingest.put(numbered_event(1))
        await eventually(lambda: ingest.last_appended >= 1)
        assert ingest.spool_state.error == error


async def test_a_recovered_disk_is_noticed(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_queue, "FAILED_PROBE_INTERVAL_SECONDS", 0.01)
    obstacle = tmp_path / "spool"
    obstacle.touch()
    async with running_ingest(Ingest(url, "pbx", Spools(obstacle, 1 << 20))) as ingest:
        await eventually(lambda: ingest.spool_state.error)
        obstacle.unlink()
        await eventually(lambda: not ingest.spool_state.error)
    assert list(obstacle.iterdir()) == []


async def test_an_unreadable_spool_is_reported(url: str, spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_queue, "PROBE_INTERVAL_SECONDS", 0.01)
    spool = spools.create("pbx", "ami", 1)
    spool.put(1, [numbered_event(1)])
    spool.close()
    broken = spool.file
    await asyncio.to_thread(broken.write_bytes, b"no database at all" * 100)
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        error = await eventually(lambda: ingest.spool_state.error)
        assert broken.name in error
        broken.unlink()
        await eventually(lambda: not ingest.spool_state.error)


def make_directory(file: Path) -> None:
    file.mkdir()


def make_dangling_link(file: Path) -> None:
    file.symlink_to(file.parent / "gone")


def make_link_to_itself(file: Path) -> None:
    file.symlink_to(file)


def make_pipe(file: Path) -> None:
    os.mkfifo(file)


@pytest.mark.parametrize("make", [make_directory, make_dangling_link, make_link_to_itself, make_pipe])
async def test_a_spool_path_without_file_stops_no_writer(
    url: str, spools: Spools, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_queue, "PROBE_INTERVAL_SECONDS", 0.01)
    spool = spools.create("pbx", "ami", 1)
    spool.close()
    make(spool.file)
    assert spools.owners() == set()
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        ingest.put(numbered_event(1))
        await eventually(lambda: ingest.last_appended >= 1)
        assert spool.file.name in await eventually(lambda: ingest.spool_state.error)


async def test_a_foreign_spool_stops_no_writer(url: str, spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_queue, "PROBE_INTERVAL_SECONDS", 0.01)
    spool = spools.create("pbx", "ami", 1)
    spool.put(1, [numbered_event(1)])
    spool.close()

    def refuse(file: Path, mode: str) -> Any:
        if file == spool.file:
            raise PermissionError(13, "Permission denied", str(file))
        return open_private(file, mode)

    monkeypatch.setattr("services.listener.backlog.spool.open_private", refuse)  # file modes do not stop root
    assert spools.owners() == set()
    async with running_ingest(Ingest(url, "pbx", spools)) as ingest:
        ingest.put(numbered_event(1))
        await eventually(lambda: ingest.last_appended >= 1)
        assert "Permission denied" in await eventually(lambda: ingest.spool_state.error)


@pytest.mark.parametrize("name", ["x" * (MAX_NAME_LENGTH + 1), "a\nb", "a\x85b"])
def test_an_invalid_pbx_name_is_a_settings_error(name: str) -> None:
    with pytest.raises(SettingsError, match="item 1: a name has at most 200 characters") as caught:
        load_settings({"RINGLEDGER_AMI": f"{name}=ami://user:{SECRET}@pbx1"})
    assert SECRET not in str(caught.value)


def test_a_pbx_name_may_have_200_characters() -> None:
    (pbx,) = load_settings({"RINGLEDGER_AMI": f"{'Ж' * MAX_NAME_LENGTH}=ami://user:{SECRET}@pbx1"}).ami
    assert pbx.name == "Ж" * MAX_NAME_LENGTH
