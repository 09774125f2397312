"""One Asterisk of each version for the whole run, and one Ringledger that listens to it through all stories."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.link import Link
from tests.support.database import SCHEMA, cloned

StartLedger = Callable[..., Awaitable[Ledger]]


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


@asynccontextmanager
async def ledger_starter(postgresql_url: str) -> AsyncIterator[StartLedger]:
    """Start a Ringledger on a database of its own; it has no snapshot yet. All are stopped at the end."""
    ledgers: list[Ledger] = []

    async def start(
        host: str, port: int = 5038, user: str = "ringledger", *, with_ari: bool = False, beside: str = ""
    ) -> Ledger:
        url = await databases.enter_async_context(cloned(postgresql_url, SCHEMA))
        ledger = Ledger(url, host, port, user, with_ari=with_ari, beside=beside)
        ledgers.append(ledger)
        await ledger.start()
        return ledger

    async with AsyncExitStack() as databases:
        yield start
        for ledger in ledgers:
            await ledger.stop()


@pytest.fixture
async def start_ledger(postgresql_url: str) -> AsyncIterator[StartLedger]:
    """Start a Ringledger of this test: each takes ten connections of PostgreSQL for as long as it runs."""
    async with ledger_starter(postgresql_url) as start:
        yield start


@pytest.fixture(scope="session")
async def listening(running: Asterisk, postgresql_url: str) -> AsyncIterator[Ledger]:
    async with ledger_starter(postgresql_url) as start:
        ledger = await start(running.host)
        await ledger.snapshot()
        yield ledger


@pytest.fixture
async def link(asterisk: Asterisk) -> AsyncIterator[Link]:
    link = await Link(lambda: (asterisk.host, 5038)).open()
    yield link
    await link.close()


@pytest.fixture
def ledger(listening: Ledger) -> Ledger:
    """A Ringledger without a gap since its first snapshot."""
    return listening
