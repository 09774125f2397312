"""Child processes that are restarted when they end, and end with their parent."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence

import structlog

from services.runtime.backoff import Backoff
from services.runtime.tasks import wait_event

RESTART = Backoff(0.2, 10.0)
STEADY_SECONDS = 30.0
"""A child that ran longer than this restarts after the first pause again."""
PR_SET_PDEATHSIG = 1

logger = structlog.get_logger()

_LIBC = ctypes.CDLL(None)


def die_with_parent(parent: int) -> None:
    """Let the kernel send SIGTERM to this process when its parent dies, even after SIGKILL (Linux only)."""
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent died before the call
            os.kill(os.getpid(), signal.SIGTERM)


class Child:
    """One program that `run_forever` restarts until `stop`."""

    def __init__(
        self, name: str, arguments: Sequence[str], environ: Mapping[str, str], sockets: tuple[int, ...] = ()
    ) -> None:
        self.name = name
        self._arguments = arguments
        self._environ = environ
        self._sockets = sockets
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def run_forever(self) -> None:
        """Run the program again and again until `stop`, after longer pauses while it keeps ending early."""
        failures = 0
        parent = os.getpid()
        while not self._stopping.is_set():
            since = time.monotonic()
            # A session of its own: Ctrl-C on the terminal reaches the parent only, which stops the children in order.
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
            if time.monotonic() - since > STEADY_SECONDS:
                failures = 0
            pause = RESTART.longest(failures)
            logger.error("child_ended", child=self.name, code=code, starts_again_in=pause)
            await wait_event(self._stopping, pause)
            failures += 1

    async def stop(self, running: asyncio.Task[None], seconds: float) -> None:
        """Terminate the program, and kill it after ``seconds``; ``running`` is the task of `run_forever`."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait([running], timeout=seconds)
        if not done:
            logger.error("child_killed", child=self.name, seconds=seconds)
            self._signal(signal.SIGKILL)
        await running

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
