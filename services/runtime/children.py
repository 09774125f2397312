"""Child processes that are kept running: each starts again when it ends, and none outlives its parent."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence

import structlog

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0
PR_SET_PDEATHSIG = 1

logger = structlog.get_logger()

_LIBC = ctypes.CDLL(None)


def die_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when its parent dies, however it dies (Linux only)."""
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), signal.SIGTERM)


class Child:
    """One program that should always run while `keep` does."""

    def __init__(
        self, name: str, arguments: Sequence[str], environ: Mapping[str, str], sockets: tuple[int, ...] = ()
    ) -> None:
        self.name = name
        self._arguments = arguments
        self._environ = environ
        self._sockets = sockets
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def keep(self) -> None:
        """Run it, again and again until `stop`; wait longer each time it does not last."""
        pause = FIRST_PAUSE_SECONDS
        parent = os.getpid()
        while not self._stopping.is_set():
            began = time.monotonic()
            # In a session of its own: Ctrl-C on the terminal is for the parent, who stops the children in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._arguments,
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=self._sockets,
                preexec_fn=lambda: die_with_parent(parent),  # calls the kernel only, takes no lock
            )
            if self._stopping.is_set():
                self._process.terminate()
            code = await self._process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            logger.error("child_ended", child=self.name, code=code, starts_again_in=pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def stop(self, keeping: asyncio.Task[None], seconds: float) -> None:
        """Ask it to end, and kill it when it has not after ``seconds``; ``keeping`` is the task that runs `keep`."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait([keeping], timeout=seconds)
        if not done:
            logger.error("child_killed", child=self.name, seconds=seconds)
            self._signal(signal.SIGKILL)
        await keeping

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
