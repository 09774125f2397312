"""An API over a real database: log, projector and application, with a client that is logged in."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp.test_utils import TestClient, TestServer

from api.app import create
from api.keys import FAILED, SEEDED
from projections import ALL
from schemas.settings import Settings
from services import database
from services.ami.protocol import LedgerProtocol
from services.ingest import Ingest
from services.projector import Projector

PASSWORD = "correct horse battery"

Client = TestClient[Any, Any]


class Ledger:
    """The log and the projector of a test: what is written is folded when `fold` returns."""

    def __init__(self, url: str, connection: asyncpg.Connection, projector: Projector) -> None:
        self.url = url
        self.connection = connection
        self.projector = projector

    async def write(self, data: bytes, pbx: str = "pbx") -> None:
        """Put bytes of AMI into the log, the way a socket's go."""
        ingest = Ingest(self.url, pbx)
        protocol = LedgerProtocol(ingest.put, lambda _: None)
        protocol.closed, protocol.responses = False, {}
        protocol.data_received(data)
        ingest.stop()
        await ingest.run()

    async def fold(self) -> None:
        while await self.projector.advance():
            pass
        assert self.projector.stopped == {}


async def opened(url: str) -> Ledger:
    connection = await database.connect(url, search_path="model, ledger")
    projector = Projector(connection, ALL)
    await projector.open()
    return Ledger(url, connection, projector)


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    ledger = await opened(url)
    stop, wake = asyncio.Event(), asyncio.Event()
    listening = await database.connect(url)
    await listening.add_listener("ledger", lambda *_: wake.set())
    running = asyncio.create_task(ledger.projector.run(stop, wake))
    yield ledger
    stop.set()
    wake.set()
    await running
    await listening.close()
    await ledger.connection.close()


Serve = Callable[..., Awaitable[Client]]


@pytest.fixture
async def serve(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Serve]:
    """Start an API process's application on the ledger; called twice there are two."""
    clients: list[Client] = []

    async def start(**settings: Any) -> Client:
        app = create(ledger.url, Settings(data=tmp_path, **{"admin_password": PASSWORD, **settings}))
        client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        seeded = asyncio.ensure_future(app[SEEDED].wait())
        done, _ = await asyncio.wait([seeded, app[FAILED]], timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert app[FAILED] not in done, app[FAILED].exception()
        assert done
        return client

    yield start
    for client in clients:
        await client.close()


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


async def token(client: Client, name: str = "admin", password: str = PASSWORD) -> str:
    reply = await client.post("/v1/admin/login", headers=basic(name, password))
    assert reply.status == 200, await reply.text()
    found: str = (await reply.json())["result"]["authtoken"]
    return found
