"""The embedded PostgreSQL's own life: users of one server, what a crash leaves, sockets where paths are long."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from services.database import embedded
from services.database.cluster import EmbeddedError
from services.database.embedded import Embedded
from tests.support.freezing import frozen, processes


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    # Not pytest's own: every run closes /tmp/pytest-of-root to all others, PostgreSQL's user among them.
    with tempfile.TemporaryDirectory(prefix="ringledger-embedded-") as place:
        yield Path(place)


@pytest.fixture(scope="module")
def data(place: Path) -> Iterator[Path]:
    data = place / "a, 'b' and \u00e9"  # what PostgreSQL would take apart
    yield data
    Embedded(data).stop()
    Embedded(data).remove()


def test_the_last_of_several_users_stops_it(data: Path) -> None:
    with Embedded(data).running() as url:
        with Embedded(data).running() as same:
            assert same == url
        assert Embedded(data).is_ready
    assert not Embedded(data).is_ready
    assert not Embedded(data).is_alive


def test_a_user_that_is_killed_is_no_user(data: Path) -> None:
    hold = "import sys, time; from services.database.embedded import Embedded; from pathlib import Path;"
    hold += "Embedded(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(60)"
    environ = {**os.environ, "PYTHONPATH": str(Path(embedded.__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", hold, str(data)], stdout=subprocess.PIPE, env=environ) as user:
        assert user.stdout
        assert user.stdout.readline() == b"held\n"
        user.kill()
    assert Embedded(data).is_ready
    with Embedded(data).running():
        pass
    assert not Embedded(data).is_alive


def test_a_pid_file_of_another_process_is_ignored(data: Path) -> None:
    Embedded(data).start()
    os.kill(int((data / "postgresql" / "postmaster.pid").read_text().split("\n")[0]), signal.SIGKILL)
    (data / "postgresql" / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n0\n5432\n\n\n")
    assert not Embedded(data).is_alive
    with Embedded(data).running():
        assert Embedded(data).is_ready


def test_a_frozen_server_is_named_in_one_line(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "ANSWER_SECONDS", 1.0)
    server = Embedded(data)
    server.start()
    with frozen(server):
        for _ in range(2):
            with pytest.raises(EmbeddedError) as raised, Embedded(data).running():
                pass
            assert str(raised.value) == "PostgreSQL does not answer; run this again later"
        with fully_queued(data), pytest.raises(EmbeddedError, match="PostgreSQL does not answer"), server.running():
            pass
    server.stop()


@contextlib.contextmanager
def fully_queued(data: Path) -> Iterator[None]:
    """Fill the kernel's queue of connections that the server has not accepted."""
    with contextlib.ExitStack() as connections:
        while True:
            connection = connections.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(0)
            try:
                connection.connect(Embedded(data).url.partition("host=")[2] + "/.s.PGSQL.5432")
            except BlockingIOError:
                break
        yield


def test_a_server_that_starts_up_is_waited_for(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "ANSWER_SECONDS", 60.0)
    server = Embedded(data)
    server.start()
    main, *children = processes(server)
    (checkpointer,) = (pid for pid in children if "checkpointer" in title(str(pid)))
    os.kill(checkpointer, signal.SIGSTOP)  # the shutdown waits for it, and refuses connections
    os.kill(main, signal.SIGINT)
    with ThreadPoolExecutor(1) as thread:
        try:
            while server.is_ready:
                time.sleep(0.05)
            ready = thread.submit(was_ready, data)
            assert not wait([ready], timeout=1).done
        finally:
            os.kill(checkpointer, signal.SIGCONT)
        assert ready.result()
    assert not server.is_alive


def was_ready(data: Path) -> bool:
    with Embedded(data).running():
        return Embedded(data).is_ready


def title(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:  # a worker of autovacuum ends by itself
        return ""


def test_a_long_stop_is_cut_short(data: Path) -> None:
    Embedded(data).start()
    postmaster = int((data / "postgresql" / "postmaster.pid").read_bytes().split(b"\n")[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    (checkpointer,) = (int(pid) for pid in children if "checkpointer" in title(pid))
    os.kill(checkpointer, signal.SIGSTOP)  # as a disk that takes its time
    Embedded(data).stop(1)
    assert Embedded(data).is_alive
    with Embedded(data).running():
        assert Embedded(data).is_ready


def test_an_unfinished_cluster_is_created_again(place: Path) -> None:
    unfinished = place / "other" / "postgresql.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    with Embedded(place / "other").running():
        assert Embedded(place / "other").exists
    assert not unfinished.exists()


def test_sockets_of_a_long_path_are_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    assert Embedded(deep).url == Embedded(deep).url != Embedded(deep / "f").url
    assert "host=/tmp/ringledger-" in Embedded(deep).url
    assert Embedded(Path("/short")).url.endswith("host=/short/run")


def test_a_folder_of_another_user_has_no_sockets(tmp_path: Path) -> None:
    server = Embedded(tmp_path / ("d" * 60) / ("e" * 60))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    sockets = Path(server.url.partition("host=")[2])
    sockets.symlink_to(elsewhere)
    try:
        with pytest.raises(EmbeddedError, match="belongs to another user"):
            server.start()
    finally:
        sockets.unlink()


def test_data_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="cannot use"):
        Embedded(tmp_path / "file" / "data").acquire()
