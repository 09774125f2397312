"""Fixtures of every room: PostgreSQL, limits that a busy machine does not reach, cheap passwords."""

import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, settings

from services.database.connection import connect
from services.database.embedded import Embedded
from services.database.heartbeat import TICK_SECONDS
from services.listener.backlog.spools import Spools
from tests.__main__ import TIMEOUT_SECONDS
from tests.captures import wire
from tests.support import two_pbx_log
from tests.support.database import (
    EMPTY,
    READ_MODELS,
    SCHEMA,
    cloned,
    make_templates,
    name_of,
    own_types_reader,
    temporary_server,
)
from tests.support.ledger import ingest_wire
from tests.support.program import SERVER

# The duration of an example depends on the load of the machine, not on the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

TIME_LIMITS = (
    "services.commands.act.OUTCOME_SECONDS",
    "services.commands.commander_presence.START_SECONDS",
    "services.commands.commander_presence.COMMANDER_TTL_SECONDS",
    "services.commands.decide.FOLD_SECONDS",
    "services.commands.decide.LOCK_SECONDS",
    "api.ops.listeners.ANSWER_SECONDS",
    "api.ops.listeners.LISTENER_TTL_SECONDS",
    "api.ops.log_counts.ANSWER_SECONDS",
    "api.ops.warnings.COMMANDER_TTL_SECONDS",
    "services.commander.executor.REQUEST_TTL_SECONDS",
    "services.log.writer.APPEND_SECONDS",
    "services.database.connection.CONNECT_SECONDS",
    "services.database.compatible.CONNECT_SECONDS",
    "services.database.pool.ACQUIRE_SECONDS",
    "services.projector.checkpoints.waits.REFRESH_SECONDS",
    "services.cli.status_report.COMMANDER_TTL_SECONDS",
)
"""A response changes when one of these passes. Only events end waits in tests; a test of a limit sets it itself."""

NEVER_SECONDS = float(TIMEOUT_SECONDS)
"""No test lasts so long: its guard ends it before, with the stacks of all threads."""

CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Takes 0.1 ms instead of 25. tests/services/accounts/test_passwords.py asserts the parameters of the product."""

COLLECTION_THRESHOLDS = (50_000, 10, 10)
"""The recordings and the events of tests are many objects without cycles. Python's own thresholds collect 70 times as
often, an eighth of the processor time of the API's tests."""


def pytest_collection_finish() -> None:
    """Collect garbage rarely, and never among the modules and tests, which stay until the end."""
    gc.freeze()
    gc.set_threshold(*COLLECTION_THRESHOLDS)


@pytest.fixture(scope="session", autouse=True)
def _limits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.accounts.passwords.HASHER", CHEAP_HASHER)
        for limit in TIME_LIMITS:
            patch.setattr(limit, NEVER_SECONDS)
        patch.setattr("services.database.pool.LOCK_TIMEOUT", "0")
        patch.setattr("services.database.heartbeat.SILENT_TICKS", int(NEVER_SECONDS / TICK_SECONDS))
        # Most tests start a commander without a listener.
        patch.setattr("services.commander.link.NO_LISTENER_SECONDS", 0.0)
        patch.setattr(asyncpg.Connection, "_introspect_types", own_types_reader())
        yield


@pytest.fixture(scope="session", autouse=True)
def _program() -> Iterator[None]:
    yield
    SERVER.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Embedded]:
    with temporary_server() as embedded:
        yield embedded


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server of the module, which its tests stop, fill and freeze."""
    embedded = Embedded(Path(f"/tmp/ringledger-own-{tmp_path_factory.getbasetemp().stat().st_ino}"))
    embedded.start()
    yield embedded
    embedded.stop()
    embedded.remove()


@pytest.fixture(scope="session")
async def postgresql_url(server: Embedded) -> str:
    """The server with the templates that `cloned` copies."""
    await make_templates(server.url)
    return server.url


@pytest.fixture(scope="session")
async def rich22_url(postgresql_url: str) -> AsyncIterator[str]:
    """A migrated database whose log has the recording rich22. Tests clone it."""
    async with cloned(postgresql_url, SCHEMA) as url:
        await ingest_wire(url, wire("rich22"), 65536)
        yield url


@pytest.fixture(scope="session")
async def two_pbx_log_url(postgresql_url: str) -> AsyncIterator[str]:
    """A database with the log of `two_pbx_log`, and read models that folded nothing. Tests clone it."""
    async with cloned(postgresql_url, READ_MODELS) as url:
        await two_pbx_log.append(url)
        yield url


@pytest.fixture(scope="session")
async def two_pbx_url(postgresql_url: str, two_pbx_log_url: str) -> AsyncIterator[str]:
    """The same log, folded with saved states at irregular positions. Tests clone it."""
    async with cloned(postgresql_url, name_of(two_pbx_log_url)) as url:
        await two_pbx_log.project(url)
        yield url


@pytest.fixture(scope="session")
def model_tables() -> None:
    """Let `url` have the tables of all read models, which the first projector would take 0.2 s to create."""


@pytest.fixture
async def url(postgresql_url: str, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A migrated database of the test, with an empty log; see also `model_tables`."""
    template = READ_MODELS if "model_tables" in request.fixturenames else SCHEMA
    async with cloned(postgresql_url, template) as url:
        yield url


@pytest.fixture
async def empty_url(server: Embedded) -> AsyncIterator[str]:
    """A database of the test that holds nothing."""
    async with cloned(server.url, EMPTY) as url:
        yield url


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to `url` that finds the tables of the log and of the read models."""
    connection = await connect(url, search_path="model, ledger")
    yield connection
    await connection.close()


@pytest.fixture
def spools(tmp_path: Path) -> Spools:
    return Spools(tmp_path / "spool", 1 << 24)
