"""The program and a running projector over the log of a recording, for the tests of rebuilds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from services.projector.process import project
from tests.support.polling import eventually
from tests.support.program import PROGRAM, Run, environment, run_program

EVENTS = 38565
"""The position of the last event of the recording rich22."""
FOLDED = "SELECT min(position) >= $1 FROM ledger.checkpoint WHERE place = 'model'"


async def wait_for(connection: asyncpg.Connection, query: str, *arguments: object) -> None:
    await eventually(lambda: connection.fetchval(query, *arguments), query)


@asynccontextmanager
async def running_projector(url: str, connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Run a projector that has folded the whole recording."""
    stop = asyncio.Event()
    running = asyncio.create_task(project(url, stop))

    await wait_for(connection, FOLDED, EVENTS)
    yield
    stop.set()
    await running


async def start_command(url: str, *arguments: str) -> asyncio.subprocess.Process:
    """Start a process for a test that sends signals to it."""
    environ, pipe = environment(url), asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(PROGRAM, *arguments, env=environ, stdout=pipe, stderr=pipe)


async def finish_command(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    """Wait for the end of a command and return its exit code, output and error output."""
    out, err = await asyncio.wait_for(process.communicate(), 300)
    return process.returncode, out.decode(), err.decode()


async def run_command(url: str, *arguments: str) -> Run:
    """Run the program and return its exit code, output and error output."""
    return await run_program(*arguments, environ=environment(url))
