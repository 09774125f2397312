"""Files that Ringledger writes on this machine are readable by their owner only, whatever the umask."""

import asyncio
import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from schemas.log import NewEvent
from schemas.settings import Settings
from services.accounts.passwords import admin_password
from services.database.connection import connect
from services.database.embedded import Embedded
from services.database.migrate import migrate
from services.integrity.anchors import create_key, verify_with_anchors
from services.listener.backlog.spools import Spools
from services.listener.process import write_board
from services.log.append import append_events
from services.retention.archive_files import file_paths
from services.retention.redact_key import read_key
from services.runtime.private import make_data_folder, make_folder, open_private
from services.transfer.export_ledger import export_ledger
from services.transfer.ledger_file import manifest_path
from tests.support.polling import eventually


@pytest.fixture(autouse=True)
def _wide() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def wide(folder: Path) -> dict[str, str]:
    """Return what somebody else could read or enter below a folder."""
    return {str(path): oct(mode(path)) for path in folder.rglob("*") if not path.is_symlink() and mode(path) & 0o077}


async def one_event(url: str) -> None:
    connection = await connect(url)
    await migrate(connection)
    await append_events(connection, "pbx", 1, 1, [NewEvent("ami", "X", None, 1e9, b"Event: X\r\n\r\n")])
    await connection.close()


async def test_exports_and_anchors_are_owner_only(url: str, tmp_path: Path) -> None:
    await one_event(url)
    file = tmp_path / "ledger.jsonl.zst"
    await export_ledger(url, file)
    await verify_with_anchors(url, tmp_path / "anchors", tmp_path / "data")
    assert (mode(file), mode(manifest_path(file)), mode(tmp_path / "anchors")) == (0o600, 0o600, 0o600)
    assert (mode(tmp_path / "data"), wide(tmp_path / "data")) == (0o700, {})


def test_keys_and_the_first_password_are_owner_only(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    read_key(data)
    create_key(data)
    admin_password(Settings(data=data))
    assert len(list(data.iterdir())) == 3
    assert wide(tmp_path) == {}


def test_a_spool_and_its_wal_are_private(tmp_path: Path) -> None:
    spool = Spools(tmp_path / "data" / "spool", 1 << 20).create("pbx", "ami", 1)
    spool.put(1, [NewEvent("ami", "X", None, 1.0, b"Event: X\r\n\r\n")])
    assert len(list(spool.file.parent.iterdir())) == 2
    assert wide(tmp_path) == {}
    spool.close()


async def test_the_listeners_board_is_owner_only(tmp_path: Path) -> None:
    posting = asyncio.create_task(write_board(tmp_path / "listeners.json", []))
    await eventually((tmp_path / "listeners.json").exists)
    posting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await posting
    assert wide(tmp_path) == {}


async def test_the_status_file_returns_after_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.listener.process.BOARD_INTERVAL_SECONDS", 0.01)
    folder = tmp_path / "data"
    with capture_logs() as logs:
        posting = asyncio.create_task(write_board(folder / "listeners.json", []))
        await eventually(lambda: logs)
        folder.mkdir(mode=0o700)
        await eventually((folder / "listeners.json").exists)
        posting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await posting
    assert [line["event"] for line in logs] == ["board_not_written"]


def test_an_existing_output_folder_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir(mode=0o755)
    file_paths([], folder)
    make_folder(folder)
    assert mode(folder) == 0o755
    file_paths([], tmp_path / "new" / "archive")
    assert (mode(tmp_path / "new"), mode(tmp_path / "new" / "archive")) == (0o700, 0o700)


def test_a_wide_file_is_narrowed_on_write(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.touch(0o666)
    with open_private(file, "w", encoding="ascii") as out:
        assert mode(file) == 0o600
        out.write("x")
    assert file.read_text() == "x"


def test_an_older_data_directory_is_narrowed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "spool").mkdir(mode=0o755, parents=True)
    ours = [data / "listeners.json", data / "up.lock", data / "postgresql.log", data / "spool" / "a.ami.1.sqlite"]
    theirs = data / "notes.txt"
    for file in (*ours, theirs):
        file.touch(0o644)
    make_data_folder(data)
    assert (mode(data), [mode(file) for file in ours], mode(theirs)) == (0o700, [0o600] * 4, 0o644)


def test_a_shared_folder_is_not_narrowed(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    make_data_folder(tmp_path)
    assert mode(tmp_path) == 0o1777


def test_the_embedded_postgresql_is_closed_to_others() -> None:
    with tempfile.TemporaryDirectory(prefix="ringledger-private-") as place:
        data = Path(place) / "data"
        try:
            with Embedded(data).running():
                assert wide(data) == {}
                # PostgreSQL refuses to run as root, and its own user must pass through the folder.
                assert mode(data) == (0o710 if os.geteuid() == 0 else 0o700)
                if os.geteuid() == 0:
                    assert data.stat().st_gid == (data / "postgresql").stat().st_gid
                make_data_folder(data)
                assert Embedded(data).is_ready
        finally:
            Embedded(data).stop()
