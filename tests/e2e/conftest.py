"""One Asterisk of each version for the whole run, and one Ringledger that listens to it through all stories."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e/" in item.path.as_posix():
            item.add_marker(pytest.mark.container)


@pytest.fixture(scope="session", params=["22", pytest.param("16", marks=pytest.mark.asterisk16)])
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Asterisk]:
    asterisk = await Asterisk(request.param).start()
    yield asterisk
    await asterisk.stop()


@pytest.fixture
async def asterisk(running: Asterisk) -> AsyncIterator[Asterisk]:
    """Asterisk at rest, and at rest again after the test."""
    yield running
    await running.quiet()


@pytest.fixture(scope="session")
async def listening(running: Asterisk, template: str) -> AsyncIterator[Ledger]:
    name = f"e2e_{running.version}"
    connection = await asyncpg.connect(template)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE template_ringledger")
    ledger = Ledger(template.replace("/postgres?", f"/{name}?"), running.host)
    await ledger.start()
    await ledger.snapshot()
    yield ledger
    await ledger.stop()
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
def ledger(listening: Ledger) -> Ledger:
    """Ringledger that has heard everything since its first snapshot: no gap, no help from another one."""
    return listening
