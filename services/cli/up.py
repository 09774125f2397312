"""``ringledger up``: everything that one machine needs, as one process tree."""

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

import asyncpg
import structlog

from schemas.settings import Settings
from services.accounts.passwords import admin_password
from services.database import connection as database
from services.database.cluster import EmbeddedError
from services.database.compatible import IncompatibleError
from services.database.embedded import Embedded
from services.database.errors import MISCONFIGURED, UNREACHABLE
from services.database.migrate import migrate
from services.playback import server as playback
from services.runtime.children import Child
from services.runtime.http_address import AddressError
from services.runtime.outage import Outage
from services.runtime.private import make_data_folder, open_private
from services.runtime.tasks import wait_event

STOP_SECONDS = 9.5
CHILDREN_STOP_SECONDS = 6.0
PLAYBACK_STOP_SECONDS = 1.0
POSTGRESQL_STOP_SECONDS = 8.5
"""From the signal on: what the children left of it is PostgreSQL's."""
PORT_SECONDS = 9.0
ANSWER_SECONDS = 30.0
PBX = "recording"
CHILDREN = ("serve", "project", "listen", "command")
AUTHTOKEN = r"""sed 's/.*"authtoken": *"\([^"]*\)".*/\1/'"""

logger = structlog.get_logger()


class UpError(Exception):
    """It cannot run here; the message says why."""


async def up(settings: Settings, file: Path | None, speed: float, stop: asyncio.Event) -> None:
    """Run until ``stop``: PostgreSQL (unless there is one), listener, projector, API, and a PBX if there is none.

    Raises UpError, EmbeddedError, OSError.
    """
    try:
        make_data_folder(settings.data)
    except OSError as error:
        raise UpError(f"RINGLEDGER_DATA: cannot use {settings.data.absolute()}: {error.strerror}") from None
    with _alone(settings.data), contextlib.ExitStack() as sockets:
        await _free(settings.http_host, settings.http_port, stop)
        password = admin_password(settings)
        since = asyncio.create_task(_when(stop))
        embedded = None if settings.database_url else Embedded(settings.data)
        watching = None
        try:
            if embedded is not None:
                await _ready(embedded, stop)
                watching = asyncio.create_task(_watch(embedded))
            url = embedded.url if embedded else settings.database_url
            await _migrated(url, stop)
            if stop.is_set():
                return
            environ = os.environ | {"RINGLEDGER_DATABASE_URL": url, "RINGLEDGER_DATA": str(settings.data.absolute())}
            pbx = None
            if not settings.ami:
                listening = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
                address = f"127.0.0.1:{listening.getsockname()[1]}"
                environ["RINGLEDGER_AMI"] = f"{PBX}=ami://{playback.USER}:{playback.SECRET}@{address}"
                fd = listening.fileno()
                pbx = Child("demo", _command("demo", None, f"--socket={fd}", f"--speed={speed:g}"), environ, (fd,))
            children = [Child(name, _command(name, file), environ) for name in CHILDREN]
            telling = asyncio.create_task(_tell(settings, _where(settings, password, speed), stop))
            await _run(children, pbx, watching, telling, stop)
        finally:
            if watching is not None:
                watching.cancel()
            began = since.result() if since.done() else time.monotonic()
            since.cancel()
            if embedded is not None:
                await asyncio.to_thread(embedded.release, began + POSTGRESQL_STOP_SECONDS - time.monotonic())


async def _run(
    children: list[Child],
    pbx: Child | None,
    watching: asyncio.Task[None] | None,
    telling: asyncio.Task[None],
    stop: asyncio.Event,
) -> None:
    playing = asyncio.create_task(pbx.run_forever()) if pbx else None
    keeping = [asyncio.create_task(child.run_forever()) for child in children]
    ends = [task for task in (playing, watching, telling, *keeping, asyncio.create_task(stop.wait())) if task]
    try:
        while not stop.is_set():
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a task that failed ends everything, and says why
                ends.remove(task)
    finally:
        for side in (watching, telling):
            if side is not None:
                side.cancel()
        await asyncio.gather(*(c.stop(k, CHILDREN_STOP_SECONDS) for c, k in zip(children, keeping, strict=True)))
        if pbx is not None and playing is not None:
            # Last, so that the listener leaves the PBX and not the PBX the listener.
            await pbx.stop(playing, PLAYBACK_STOP_SECONDS)


def _command(name: str, file: Path | None, *more: str) -> list[str]:
    # -P: what lies in the working directory must not stand in for our modules.
    settings = [f"--settings={file.absolute()}"] if file else []
    return [sys.executable, "-P", "-m", "services.cli", name, *settings, *more]


@contextlib.contextmanager
def _alone(data: Path) -> Iterator[None]:
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


async def _free(host: str, port: int, stop: asyncio.Event) -> None:
    """Wait until the port is free: the API of an `up` that was killed may need seconds to end."""
    given_up = time.monotonic() + PORT_SECONDS
    while port and not stop.is_set():
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > given_up:
                raise UpError(str(AddressError(host, port, error))) from None
            await wait_event(stop, 0.2)
        else:
            return


async def _ready(embedded: Embedded, stop: asyncio.Event) -> None:
    logger.info("postgresql_starts", data=str(embedded.cluster.data), new=not embedded.exists)
    starting = asyncio.create_task(asyncio.to_thread(embedded.acquire))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await starting


async def _migrated(url: str, stop: asyncio.Event) -> None:
    outage = Outage("database_unreachable", "database_reachable")
    while not stop.is_set():
        try:
            connection = await database.connect(url)
            try:
                for name in await migrate(connection):
                    logger.info("migrated", name=name)
            finally:
                connection.terminate()
        except MISCONFIGURED as error:
            raise UpError(f"RINGLEDGER_DATABASE_URL: {error}") from None
        except UNREACHABLE as error:
            outage.fail(error)
            await wait_event(stop, 1.0)
        except IncompatibleError as error:
            raise UpError(str(error)) from None
        except asyncpg.PostgresError as error:
            raise UpError(f"RINGLEDGER_DATABASE_URL: {error}") from None
        else:
            outage.recover(quiet_seconds=0.0)
            return


async def _watch(embedded: Embedded) -> None:
    """Start PostgreSQL again when it has died."""
    while True:
        await asyncio.sleep(1)
        if not embedded.is_alive:
            logger.error("postgresql_ended", data=str(embedded.cluster.data))
            try:
                await asyncio.to_thread(embedded.start)
            except EmbeddedError as error:
                logger.error("postgresql_does_not_start", error=str(error))  # noqa: TRY400 (the message says all)


async def _tell(settings: Settings, where: str, stop: asyncio.Event) -> None:
    """Print where to look once the API answers."""
    given_up = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < given_up and not stop.is_set():
        try:
            _, writer = await asyncio.open_connection(_reachable(settings.http_host), settings.http_port)
        except OSError:
            await wait_event(stop, 0.1)
            continue
        writer.close()
        break
    print(where, flush=True)  # noqa: T201 (for people)


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not bound)


def _where(settings: Settings, password: str, speed: float) -> str:
    host = _reachable(settings.http_host)
    base = f"http://{f'[{host}]' if ':' in host else host}:{settings.http_port}"
    given = bool(settings.admin_password)
    shown = "(the one in RINGLEDGER_ADMIN_PASSWORD)" if given else password
    typed = "$RINGLEDGER_ADMIN_PASSWORD" if given else password
    if settings.ami:
        heard = "Listening to " + ", ".join(f"{pbx.name} ({pbx.host}:{pbx.port})" for pbx in settings.ami)
    else:
        pace = "" if speed == 1 else f" at {speed:g} times its pace"
        heard = (
            f"Playing a recording of an Asterisk 22{pace}, again and again: five minutes of calls, none of them real.\n"
            "To listen to your PBX: RINGLEDGER_AMI=ami://user:secret@host:5038 ringledger up"
        )
    return f"""
Ringledger is up at {base}
{heard}

user: admin
password: {shown}

log in:    TOKEN=$(curl -s -X POST -u "admin:{typed}" {base}/v1/admin/login | {AUTHTOKEN})
channels:  curl -s "{base}/v1/admin/core/channels?authtoken=$TOKEN"
data:      {settings.data.absolute() if not settings.database_url else "in the PostgreSQL of RINGLEDGER_DATABASE_URL"}
stop:      Ctrl-C
"""


async def _when(stop: asyncio.Event) -> float:
    await stop.wait()
    return time.monotonic()
