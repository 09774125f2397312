"""A real PostgreSQL for every test that wants one: one server a run, one database a test, cloned from a template."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from services.database import connection as database
from services.database.embedded import Embedded
from services.listener.spool import Spools

NUMBERS = itertools.count(1)

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


PATIENCE = (
    "services.commands.act.OUTCOME_SECONDS",
    "services.commands.commander_presence.START_SECONDS",
    "services.commands.commander_presence.COMMANDER_SECONDS",
    "services.commands.decide.FOLD_SECONDS",
    "services.commands.decide.LOCK_SECONDS",
    "api.ops.listeners.ANSWER_SECONDS",
    "api.ops.listeners.LISTENER_SECONDS",
    "api.ops.log_counts.ANSWER_SECONDS",
    "api.ops.warnings.COMMANDER_SECONDS",
    "services.commander.commander.GOOD_SECONDS",
    "services.log.writer.APPEND_SECONDS",
    "services.database.pool.ACQUIRE_SECONDS",
    "services.cli.status_report.COMMANDER_SECONDS",
)
"""After these an answer is another one. A busy machine must not reach them; a test of one sets it itself."""


@pytest.fixture(scope="session", autouse=True)
def _patient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for limit in PATIENCE:
            patch.setattr(limit, 60.0)
        patch.setattr("services.database.pool.LOCK_TIMEOUT", "60s")
        patch.setattr("services.database.heartbeat.TICKS", 240)
        # No listener begins beside most tests' commanders.
        patch.setattr("services.commander.link.ALONE_SECONDS", 0.0)
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    # pytest's own temporary path is too long for a Unix socket and closed to the server's user.
    embedded = Embedded(Path(f"/tmp/ringledger-test-{tmp_path_factory.getbasetemp().stat().st_ino}"))
    embedded.start()
    asyncio.run(careless(embedded))
    yield embedded
    embedded.stop()
    embedded.remove()


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server of the module's own, to be stopped, filled and frozen."""
    embedded = Embedded(Path(f"/tmp/ringledger-own-{tmp_path_factory.getbasetemp().stat().st_ino}"))
    embedded.start()
    yield embedded
    embedded.stop()
    embedded.remove()


async def careless(server: Embedded) -> None:
    """Have it forget about crashes of the machine: a database is dropped in 10 ms then instead of 660."""
    connection = await asyncpg.connect(server.url)
    await connection.execute("ALTER SYSTEM SET fsync = off")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


@pytest.fixture(scope="session")
async def template(server: Embedded) -> str:
    connection = await asyncpg.connect(server.url)
    await connection.execute("CREATE DATABASE template_ringledger")
    await connection.close()
    connection = await database.connect(server.url.replace("/postgres?", "/template_ringledger?"))
    await database.migrate(connection)
    await connection.close()
    return server.url


@pytest.fixture
async def url(template: str) -> AsyncIterator[str]:
    """A migrated, empty database of the test's own."""
    name = f"test_{next(NUMBERS)}"
    connection = await asyncpg.connect(template)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE template_ringledger STRATEGY FILE_COPY")
    yield template.replace("/postgres?", f"/{name}?")
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
def spools(tmp_path: Path) -> Spools:
    return Spools(tmp_path / "spool", 1 << 24)


@pytest.fixture
async def server_url(server: Embedded) -> AsyncIterator[str]:
    """An empty database of the test's own, with nothing of ours in it."""
    name = f"test_{next(NUMBERS)}"
    connection = await asyncpg.connect(server.url)
    await connection.execute(f"CREATE DATABASE {name}")
    yield server.url.replace("/postgres?", f"/{name}?")
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()
