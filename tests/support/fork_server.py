"""A process that has imported the program and forks at each request: ``python -m tests.support.fork_server FD``.

A start of Python that imports a command takes 0.3 to 0.4 s of the processor, a fork 0.08 s. The server has one thread
and opens nothing, so a fork is in the state of a fresh interpreter that has read its modules. The fork runs the
program's own entry point, up to the end of the interpreter. `tests.support.program` makes the requests.
"""

import contextlib
import gc
import importlib
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from typer.testing import CliRunner

import services
from services.cli.options import app

MAX_REQUEST_BYTES = 1 << 17
NOT_IMPORTED = {"services.cli.__main__"}
"""It runs the program."""


class Request(msgspec.Struct):
    """A run of the program. Descriptors for input, output, errors and the exit code come with it."""

    program: str
    words: list[str]
    environ: dict[str, str]
    folder: str
    limits: dict[str, float]
    """Values to set before the run, by module and name; see `tests.support.program.run_program`."""


def main(control: socket.socket) -> None:
    """Serve until the other end closes the socket. In a fork, run the program instead."""
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if module.name not in NOT_IMPORTED:
            importlib.import_module(module.name)
    # Typer imports pydantic, which takes 0.06 s, when a command has its first option.
    assert CliRunner().invoke(app, ["migrate", f"--settings={os.devnull}/none"]).exit_code == 2
    gc.freeze()  # a collection in a fork need not copy the pages of what is imported
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # pytest's Ctrl-C, after which the socket closes
    fork = serve(control)
    if fork is not None:
        run(*fork)


def serve(control: socket.socket) -> tuple[Request, Sequence[int]] | None:
    """Fork at each request and send the exit code. A fork is killed if its caller closes the socket for the code.

    Return None at the end, but in a fork its request, and its input, output and error output.
    """
    # The kernel's state of an epoll would be shared with the forks.
    with selectors.PollSelector() as selector, control:
        selector.register(control, selectors.EVENT_READ)
        while True:
            events = selector.select()
            for fork in {key.data for key, _ in events if key.data}:
                fork.advance(selector)
            if all(key.data for key, _ in events):
                continue
            message, descriptors, _flags, _address = socket.recv_fds(control, MAX_REQUEST_BYTES, 4)
            forks = {key.data for key in selector.get_map().values() if key.data}
            if not message:
                for fork in forks:
                    fork.advance(selector)
                return None
            pid = os.fork()
            if not pid:
                for other in forks:
                    other.close()
                os.close(descriptors[3])
                return msgspec.json.decode(message, type=Request), descriptors[:3]
            for descriptor in descriptors[:3]:
                os.close(descriptor)
            Fork(pid, descriptors[3], selector)


class Fork:
    """A run of the program, as its parent sees it."""

    def __init__(self, pid: int, caller: int, selector: selectors.BaseSelector) -> None:
        self._pid, self._end = pid, os.pidfd_open(pid)
        self._caller = socket.socket(fileno=caller)
        selector.register(self._end, selectors.EVENT_READ, self)
        selector.register(self._caller, selectors.EVENT_READ, self)

    def advance(self, selector: selectors.BaseSelector) -> None:
        """Report the end of the run, or make an end of it: the caller sends nothing, it only closes its end."""
        if not os.waitid(os.P_PIDFD, self._end, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        with contextlib.suppress(BrokenPipeError):  # the caller has gone
            self._caller.send(b"%d" % os.waitstatus_to_exitcode(status))
        selector.unregister(self._end)
        selector.unregister(self._caller)
        self.close()

    def close(self) -> None:
        os.close(self._end)
        self._caller.close()


def run(request: Request, descriptors: Sequence[int]) -> None:
    """Become the process that the program's entry point would be, and run it."""
    for descriptor, standard in zip(descriptors, range(3), strict=True):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    # As Python opens them at its start.
    sys.stdin = open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environ)
    sys.argv[:] = [request.program, *request.words]
    sys.path[0] = str(Path(request.program).parent)
    for name, value in request.limits.items():
        module, _, constant = name.rpartition(".")
        getattr(sys.modules[module], constant)  # a name that is not there is a mistake of the test
        setattr(sys.modules[module], constant, value)
    runpy.run_path(request.program, run_name="__main__")


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
