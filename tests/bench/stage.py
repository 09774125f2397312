"""Where the bench happens: a PostgreSQL of its own with a database for each part, and processes that always end."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

import asyncpg

from services.database.connection import connect
from services.database.embedded import Embedded
from services.database.migrate import migrate

STOP_SECONDS = 15
BIN = Path(sys.executable).parent


class BrokenError(Exception):
    """The bench itself could not go on; its figures would mean nothing."""


class Stage:
    """A temporary server and folder."""

    def __init__(self, folder: Path, server: Embedded) -> None:
        self.folder = folder
        self.server = server

    async def database(self, name: str) -> str:
        """Create a migrated database and return its URL."""
        connection = await asyncpg.connect(self.server.url)
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        url = self.server.url.replace("/postgres?", f"/{name}?")
        connection = await connect(url)
        await migrate(connection)
        await connection.close()
        return url

    async def drop(self, name: str) -> None:
        """Drop a part's database, and let the server write out what it still holds, so the next part starts even."""
        connection = await asyncpg.connect(self.server.url)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.execute("CHECKPOINT")
        await connection.close()

    @contextmanager
    def process(self, *command: str, name: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
        """Run a process as long as the context lasts; its standard error goes to a file that `check` reads."""
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={k: v for k, v in os.environ.items() if not k.startswith("RINGLEDGER_")} | environ,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def ringledger(self, command: str, **environ: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Run one of our own processes."""
        return self.process(str(BIN / "ringledger"), command, name=command, **environ)

    def others_cpu(self) -> float:
        """Return the processor seconds used by all but the bench, what it started and ended, and its server."""
        return machine_cpu() - sum(map(cpu, [os.getpid(), *postgres(self.server)]))

    def check(self, *processes: subprocess.Popen[str]) -> None:
        """Raise BrokenError if one of them has ended."""
        for process in processes:
            if process.poll() is not None:
                logs = "\n".join(p.read_text()[-2000:] for p in self.folder.glob("*.log"))
                raise BrokenError(f"{process.args!r} ended with {process.returncode}:\n{logs}")


@contextmanager
def stage() -> Iterator[Stage]:
    """Start the server that a user without one of their own gets; stop and delete it afterwards."""
    with tempfile.TemporaryDirectory(prefix="rl-bench-") as name:
        Path(name).chmod(0o755)
        server = Embedded(Path(name) / "data")
        try:
            server.start()
            yield Stage(Path(name), server)
        finally:
            server.stop()


async def line(stream: IO[str] | None, seconds: float) -> str:
    """Read one line from a process without holding up the event loop."""
    assert stream is not None
    async with asyncio.timeout(seconds):
        return await asyncio.to_thread(stream.readline)


def pss(pid: int) -> float:
    """Return a process's memory in MB, with what it shares divided among those who share it."""
    try:
        for text in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if text.startswith("Pss:"):
                return int(text.split()[1]) / 1024
    except (ProcessLookupError, FileNotFoundError):
        pass
    return 0.0


def cpu(pid: int) -> float:
    """Return the processor seconds that a process has used, and those of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except (ProcessLookupError, FileNotFoundError):
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def machine_cpu() -> float:
    """Return the processor seconds that the whole machine has used."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def postgres(server: Embedded) -> list[int]:
    """Return PostgreSQL's processes."""
    postmaster = (server.cluster.data / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0]
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="ascii").split()
    return [int(pid) for pid in (postmaster, *children)]
