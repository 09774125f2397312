"""An API over a real database: log, projector and application, with a client that is logged in."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from api.app import create
from api.app_keys import ACCOUNTS, CHECKPOINTS, SEEDED
from schemas.settings import Settings
from services.runtime.clock import Clock
from tests.captures import wire
from tests.support.api_client import PASSWORD, Client, RecordedApi, Serve, admin_token, api_starter, bearer
from tests.support.database import READ_MODELS, cloned
from tests.support.ledger import Ledger, open_ledger, projector_task
from tests.support.recordings import listener_events


@pytest.fixture(autouse=True)
def _tables(model_tables: None) -> None:
    """Start every test of the API with the read models' tables."""


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    """A ledger whose projector runs."""
    ledger = await open_ledger(url)
    async with projector_task(ledger):
        yield ledger
    await ledger.close()


@pytest.fixture
async def serve(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Serve]:
    async with api_starter(ledger, tmp_path) as start:
        yield start


@pytest.fixture
async def client(serve: Serve) -> Client:
    """A client of one API process, logged in as admin."""
    client = await serve()
    client.session.headers.update(bearer(await admin_token(client)))
    return client


@pytest.fixture(scope="session")
async def recorded(postgresql_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RecordedApi]:
    async with cloned(postgresql_url, READ_MODELS) as url:
        ledger = await open_ledger(url)
        for name in ("rich22", "rich16"):
            await ledger.write(*listener_events(wire(name)), pbx=name)
        await ledger.fold()
        app = create(ledger.url, Settings(data=tmp_path_factory.mktemp("data"), admin_password=PASSWORD))
        client = TestClient(TestServer(app))
        await client.start_server()
        while not app[SEEDED].is_set():
            await app[CHECKPOINTS].refresh()
            await ledger.fold()
        login = asyncio.create_task(admin_token(client))
        while not login.done():
            await app[CHECKPOINTS].refresh()
            await ledger.fold()
        client.session.headers.update(bearer(await login))
        # The token does not expire, and the log gets no use of it, however long the other tests take.
        now, monotonic = time.time(), time.monotonic()
        app[ACCOUNTS]._clock = Clock(lambda: now, lambda: monotonic)
        yield RecordedApi(client, ledger)
        await client.close()
        await ledger.close()
