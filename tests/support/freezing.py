"""Faults of a test module's own PostgreSQL: it hangs, as on a hanging disk, or has no connection left."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg

from services.database.embedded import Embedded


def processes(server: Embedded) -> list[int]:
    """Return the main process of the server and all that it has started."""
    main = int((server.cluster.data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
    children = Path(f"/proc/{main}/task/{main}/children").read_text(encoding="utf-8").split()
    return [main, *map(int, children)]


@contextlib.contextmanager
def frozen(server: Embedded) -> Iterator[None]:
    """Stop all of the server's processes; its sockets stay open, and the kernel accepts and buffers for it."""
    stopped = processes(server)
    try:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in reversed(stopped):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def crowded(url: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Take every connection that the server has left; what is given takes those that were freed since."""
    taken: list[asyncpg.Connection] = []

    async def take() -> None:
        while True:
            try:
                taken.append(await asyncpg.connect(url))
            except asyncpg.TooManyConnectionsError:
                return

    await take()
    try:
        yield take
    finally:
        for connection in taken:
            await connection.close()
