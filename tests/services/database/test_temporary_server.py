"""The servers of tests: none is taken for abandoned while another run creates or removes it."""

import fcntl
import tempfile
from pathlib import Path

import pytest

from tests.support import database


class Server:
    """A server that takes no time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self) -> None:
        assert not is_free(self.folder / "lock")

    def stop(self) -> None:
        pass

    def remove(self) -> None:
        assert not is_free(lock_of(self.folder.parent))
        (self.folder / "lock").unlink()
        self.folder.rmdir()


def lock_of(parent: Path) -> Path:
    (path,) = parent.glob(f"{database.PREFIX}*.lock")
    return path


def is_free(path: Path) -> bool:
    """Return whether another process could lock the file."""
    with path.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(database, "MEMORY", tmp_path)
    monkeypatch.setattr(database, "MEMORY_FREE_BYTES", 0)
    monkeypatch.setattr(database, "Embedded", Server)
    return tmp_path


def folders(parent: Path) -> list[Path]:
    return sorted(parent.glob(f"{database.PREFIX}*/"))


def test_a_folder_is_made_under_the_lock(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = tempfile.mkdtemp

    def create_under_lock(*, prefix: str, dir: Path) -> str:  # noqa: A002 - the name of mkdtemp's parameter
        assert not is_free(lock_of(parent))
        return str(create(prefix=prefix, dir=dir))

    monkeypatch.setattr(tempfile, "mkdtemp", create_under_lock)
    with database.temporary_server():
        assert is_free(lock_of(parent)), "others may start theirs"
        assert len(folders(parent)) == 1
    assert folders(parent) == []


def test_abandoned_folders_go_and_live_ones_stay(parent: Path) -> None:
    """A run may have been killed before it made its lock, too."""
    with database.temporary_server():
        (live,) = folders(parent)
        for name in ("killed", "killed-early"):
            (parent / f"{database.PREFIX}{name}").mkdir()
        (parent / f"{database.PREFIX}killed" / "lock").touch()
        with database.temporary_server():
            others = [folder for folder in folders(parent) if folder != live]
            assert len(others) == 1
        assert folders(parent) == [live]
