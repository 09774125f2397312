"""PostgreSQL for tests: one server a process, and for each test a database of its own, cloned from a template."""

import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from projections import ALL
from services.database.connection import connect
from services.database.embedded import Embedded
from services.database.migrate import migrate
from services.projector.projector import Projector

GIGABYTE = 1 << 30
MEMORY = Path("/dev/shm")
MEMORY_FREE_BYTES = 4 * GIGABYTE
"""Three servers at once hold less than 1 GiB; a container's default of 64 MiB is never enough."""
PREFIX = "ringledger-test-"

EMPTY, SCHEMA, READ_MODELS = "template1", "template_schema", "template_read_models"
"""Templates: PostgreSQL's own; migrated; migrated, and with the table of every read model, at position 0."""

DISPOSABLE = ("fsync = off", "full_page_writes = off", "max_wal_size = '256MB'")
"""The data need not survive a crash of the machine. A database is dropped in 10 ms instead of 660."""

NUMBERS = itertools.count(1)


@contextmanager
def temporary_server() -> Iterator[Embedded]:
    """Run a server, in memory where there is room. pytest's own folder is too long for a socket, and private."""
    parent = MEMORY if _free_bytes(MEMORY) > MEMORY_FREE_BYTES else Path(tempfile.gettempdir())
    with exclusive(parent):
        remove_abandoned(parent)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = (folder / "lock").open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
    server = Embedded(folder)
    with lock:
        server.start()
        yield server
        server.stop()
        with exclusive(parent):
            server.remove()


@contextmanager
def exclusive(parent: Path) -> Iterator[None]:
    """Let no other process create or remove a server's folder: one without a locked file is abandoned."""
    with (parent / f"{PREFIX}{os.getuid()}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove_abandoned(parent: Path) -> None:
    """Stop the servers of test runs that were killed, and delete their data; the caller holds `exclusive`.

    A live run holds a lock on a file in its folder.
    """
    for path in parent.glob(f"{PREFIX}*/"):
        if path.stat().st_uid != os.getuid():
            continue
        with (path / "lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            server = Embedded(path)
            server.stop()
            server.remove()


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free if folder.is_dir() else 0


def url_of(server_url: str, name: str) -> str:
    """Return the URL of the database ``name`` at the server."""
    return server_url.replace("/postgres?", f"/{name}?")


def name_of(url: str) -> str:
    """Return the name of the database that the URL ends in."""
    return urlsplit(url).path[1:]


async def make_templates(server_url: str) -> None:
    """Turn off what makes a server durable, and create `SCHEMA` and `READ_MODELS`."""
    connection = await asyncpg.connect(server_url)
    for setting in DISPOSABLE:
        await connection.execute(f"ALTER SYSTEM SET {setting}")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.execute(f"CREATE DATABASE {SCHEMA}")
    schema = await connect(url_of(server_url, SCHEMA))
    await migrate(schema)
    await schema.close()
    await connection.execute(f"CREATE DATABASE {READ_MODELS} TEMPLATE {SCHEMA} STRATEGY FILE_COPY")
    await connection.close()
    models = await connect(url_of(server_url, READ_MODELS), search_path="model, ledger")
    await Projector(models, ALL).open()
    await models.close()


FIRST_USER_OID = 16384
"""PostgreSQL's own types have lower numbers, the same ones in all databases."""


def own_types_reader() -> Callable[..., Awaitable[tuple[Any, Any]]]:
    """Return a `Connection._introspect_types` that reads PostgreSQL's own types once for all connections.

    Every connection reads them before it first sends an array; the query takes 5 ms of the CPU, twice in most tests.
    """
    read = asyncpg.Connection._introspect_types
    types: dict[tuple[int, ...], Any] = {}
    named = SimpleNamespace(name="so that the caller's statement need not be prepared again")

    async def introspect(connection: asyncpg.Connection, oids: Iterable[int], *timeout: Any) -> tuple[Any, Any]:
        key = tuple(sorted(oids))
        if key in types:
            return types[key], named
        rows, statement = await read(connection, key, *timeout)
        if key[-1] < FIRST_USER_OID:
            types[key] = rows
        return rows, statement

    return introspect


@asynccontextmanager
async def cloned(server_url: str, template: str) -> AsyncIterator[str]:
    """Clone a template, yield the URL of the new database, and drop it at the end."""
    name = f"test_{next(NUMBERS)}"
    connection = await asyncpg.connect(server_url)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield url_of(server_url, name)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()
