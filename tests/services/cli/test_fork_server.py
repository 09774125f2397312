"""A run of the program in a fork is that of a process of its own, as the tests of the commands assume."""

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.program import environment, run_program, start_program
from tests.support.proxies import listens

NOWHERE = "postgresql://x@127.0.0.1:1/none"


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("nosuch",),
        ("status",),
        ("migrate", "--settings", "nosuch.toml"),
        ("redact", "--number", "-"),
        ("as-of", "yesterday", "channels"),
        ("demo", "--listen", "127.0.0.1:99999"),
    ],
)
async def test_a_fork_prints_what_a_process_prints(words: tuple[str, ...]) -> None:
    environ = environment(NOWHERE, COLUMNS="80")
    assert await run_program(*words, environ=environ) == await start_program(*words, environ=environ)


async def test_a_fork_has_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('database_url = "nonsense"\n')
    code, _, err = await run_program("status", "--settings", "mine.toml", folder=tmp_path, environ=environment())
    assert (code, err.startswith("ringledger: ")) == (2, True)
    assert "RINGLEDGER_DATABASE_URL" in err


async def test_a_fork_reads_its_own_input() -> None:
    run = await run_program("redact", "--number", "-", stdin="12\n", environ=environment(NOWHERE))
    assert (run.code, run.err) == (2, "ringledger: --number: must be 3 to 20 digits, with an optional + before them\n")


async def test_a_limit_without_such_a_name_fails() -> None:
    limits = {"services.database.connection.NO_SUCH_SECONDS": 1.0}
    run = await run_program("status", limits=limits, environ=environment(NOWHERE))
    assert run.code == 1
    assert "NO_SUCH_SECONDS" in run.err


async def test_a_cancelled_run_leaves_no_process() -> None:
    port = free_port()
    running = asyncio.create_task(run_program("demo", "--listen", f"127.0.0.1:{port}", environ=environment()))
    await eventually(lambda: listens(port), "the demo listens")
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running

    def is_free() -> bool:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                return True
        return False

    await eventually(is_free, "the demo has ended")
