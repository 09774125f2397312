"""Runs of the program ``ringledger`` from start to end, in forks of a process that has imported it.

A test of the start itself, or of a process that it signals, starts `PROGRAM` instead.
"""

import asyncio
import os
import pty
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.support.fork_server import Request

PROGRAM = Path(sys.executable).parent / "ringledger"
SECONDS = 300.0
ROOT = Path(__file__).parents[2]


class Run(NamedTuple):
    """The exit code of a run, negative for a signal, and what the program printed."""

    code: int
    out: str
    err: str


class ForkServer:
    """The server of this test process, which starts with the first run."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def send(self, request: Request, *descriptors: int) -> None:
        """Send a request. A message of SOCK_SEQPACKET arrives whole, together with its descriptors."""
        if self._control is None:
            self._control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with other:
                command = [sys.executable, "-m", "tests.support.fork_server", str(other.fileno())]
                self._server = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment(),
                    pass_fds=[other.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
        socket.send_fds(self._control, [msgspec.json.encode(request)], descriptors)

    def close(self) -> None:
        if self._control is not None and self._server is not None:
            self._control.close()
            assert self._server.wait(SECONDS) == 0


SERVER = ForkServer()


def environment(url: str | None = None, data: Path | None = None, **more: str) -> dict[str, str]:
    """Return an environment with these settings, and nothing else of the tests' own."""
    result = {"PATH": os.environ["PATH"], **more}
    if url is not None:
        result["RINGLEDGER_DATABASE_URL"] = url
    if data is not None:
        result["RINGLEDGER_DATA"] = str(data)
    return result


async def run_program(
    *words: str | Path,
    environ: Mapping[str, str],
    stdin: str = "",
    folder: Path | None = None,
    limits: Mapping[str, float] | None = None,
) -> Run:
    """Run ``ringledger WORDS`` in an `environment`, and return its outcome.

    ``limits`` are constants with other values, by module and name: ``services.database.compatible.CONNECT_SECONDS``.
    """
    request = Request(str(PROGRAM), list(map(str, words)), dict(environ), str(folder or Path.cwd()), dict(limits or {}))
    with tempfile.TemporaryFile() as input_file, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        input_file.write(stdin.encode())
        input_file.seek(0)
        with exit_code_socket() as (code, other):
            with other:
                SERVER.send(request, input_file.fileno(), out.fileno(), err.fileno(), other.fileno())
            async with asyncio.timeout(SECONDS):
                answer = await asyncio.get_running_loop().sock_recv(code, 100)
        assert answer, "the fork server has ended"
        out.seek(0)
        err.seek(0)
        return Run(int(answer), decode(out.read()), decode(err.read()))


async def start_program(*words: str | Path, environ: Mapping[str, str]) -> Run:
    """Do the same with a process of its own, which imports no more than the command needs."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *words, env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return Run(process.returncode, decode(out), decode(err))


def decode(output: bytes) -> str:
    return output.decode(errors="surrogateescape")


@contextmanager
def exit_code_socket() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield both ends of the socket for an exit code. The server kills the run whose caller closes its end."""
    code, other = socket.socketpair()
    with code:
        code.settimeout(0)
        yield code, other


class Cli:
    """The program on a database, in a script and on a terminal."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def run(self, *arguments: str) -> Run:
        return await run_program(*arguments, environ=environment(self.url))

    async def on_terminal(self, *arguments: str) -> str:
        def run() -> str:
            terminal, program_end = pty.openpty()
            environ = environment(self.url, COLUMNS="90", TERM="dumb")
            with subprocess.Popen(
                [PROGRAM, *arguments], env=environ, stdout=program_end, stderr=program_end
            ) as process:
                os.close(program_end)
                text = b""
                while True:
                    try:
                        text += os.read(terminal, 65536)
                    except OSError:  # the program has ended
                        break
                assert process.wait() == 0
            os.close(terminal)
            return text.decode()

        return await asyncio.to_thread(run)
