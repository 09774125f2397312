"""``ringledger up``: runs all processes that one machine needs as one process tree."""

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from schemas.settings import Settings
from services.accounts.passwords import admin_password
from services.cli.up_banner import banner, print_when_ready
from services.cli.up_database import UpError, apply_migrations, start, watch
from services.database.embedded import Embedded
from services.playback import server as playback
from services.runtime.children import Child
from services.runtime.http_address import AddressError
from services.runtime.private import make_data_folder, open_private
from services.runtime.tasks import wait_event

STOP_SECONDS = 9.5
CHILDREN_STOP_SECONDS = 6.0
PLAYBACK_STOP_SECONDS = 1.0
POSTGRESQL_STOP_SECONDS = 8.5
"""Counted from the signal: PostgreSQL has the time that the children left."""
PORT_SECONDS = 9.0
PBX = "recording"
CHILDREN = ("serve", "project", "listen", "command")


async def up(settings: Settings, file: Path | None, speed: float, stop: asyncio.Event) -> None:
    """Run PostgreSQL (without a URL), the child processes and (without RINGLEDGER_AMI) the demo PBX until ``stop``.

    Raises UpError, EmbeddedError, OSError.
    """
    try:
        make_data_folder(settings.data)
    except OSError as error:
        raise UpError(f"RINGLEDGER_DATA: cannot use {settings.data.absolute()}: {error.strerror}") from None
    with _only_process(settings.data), contextlib.ExitStack() as sockets:
        await _wait_for_port(settings.http_host, settings.http_port, stop)
        password = admin_password(settings)
        stop_time = asyncio.create_task(_time_of(stop))
        embedded = None if settings.database_url else Embedded(settings.data)
        watching = None
        try:
            if embedded is not None:
                await start(embedded, stop)
                watching = asyncio.create_task(watch(embedded))
            url = embedded.url if embedded else settings.database_url
            await apply_migrations(url, stop)
            if stop.is_set():
                return
            environ = os.environ | {"RINGLEDGER_DATABASE_URL": url, "RINGLEDGER_DATA": str(settings.data.absolute())}
            pbx = None
            if not settings.ami:
                listening = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
                address = f"127.0.0.1:{listening.getsockname()[1]}"
                environ["RINGLEDGER_AMI"] = f"{PBX}=ami://{playback.USER}:{playback.SECRET}@{address}"
                fd = listening.fileno()
                pbx = Child("demo", _arguments("demo", None, f"--socket={fd}", f"--speed={speed:g}"), environ, (fd,))
            children = [Child(name, _arguments(name, file), environ) for name in CHILDREN]
            printing = asyncio.create_task(print_when_ready(settings, banner(settings, password, speed), stop))
            await _supervise(children, pbx, watching, printing, stop)
        finally:
            if watching is not None:
                watching.cancel()
            stopped_at = stop_time.result() if stop_time.done() else time.monotonic()
            stop_time.cancel()
            if embedded is not None:
                await asyncio.to_thread(embedded.release, stopped_at + POSTGRESQL_STOP_SECONDS - time.monotonic())


async def _supervise(
    children: list[Child],
    pbx: Child | None,
    watching: asyncio.Task[None] | None,
    printing: asyncio.Task[None],
    stop: asyncio.Event,
) -> None:
    """Run the children until ``stop``; the exception of any task ends all."""
    pbx_task = asyncio.create_task(pbx.run_forever()) if pbx else None
    child_tasks = [asyncio.create_task(child.run_forever()) for child in children]
    tasks = [task for task in (pbx_task, watching, printing, *child_tasks, asyncio.create_task(stop.wait())) if task]
    try:
        while not stop.is_set():
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
                tasks.remove(task)
    finally:
        for side_task in (watching, printing):
            if side_task is not None:
                side_task.cancel()
        stops = [child.stop(task, CHILDREN_STOP_SECONDS) for child, task in zip(children, child_tasks, strict=True)]
        await asyncio.gather(*stops)
        if pbx is not None and pbx_task is not None:
            # After the listener, so that the listener closes the link itself.
            await pbx.stop(pbx_task, PLAYBACK_STOP_SECONDS)


def _arguments(name: str, file: Path | None, *more: str) -> list[str]:
    # -P: files in the working directory must not shadow Ringledger's modules.
    settings = [f"--settings={file.absolute()}"] if file else []
    return [sys.executable, "-P", "-m", "services.cli", name, *settings, *more]


@contextlib.contextmanager
def _only_process(data: Path) -> Iterator[None]:
    """Hold the lock of the data directory. Raises UpError if another `up` has it."""
    with open_private(data / "up.lock", "a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UpError(
                f"another `ringledger up` (process {lock.read().strip()}) runs on {data.absolute()}"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


async def _wait_for_port(host: str, port: int, stop: asyncio.Event) -> None:
    """Wait until the port is free: the API of a killed `up` may take seconds to end. Raises UpError."""
    deadline = time.monotonic() + PORT_SECONDS
    while port and not stop.is_set():
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise UpError(str(AddressError(host, port, error))) from None
            await wait_event(stop, 0.2)
        else:
            return


async def _time_of(stop: asyncio.Event) -> float:
    await stop.wait()
    return time.monotonic()
