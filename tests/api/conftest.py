"""An API over a real database: log, projector and application, with a client that is logged in."""

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec import Struct

from api.app import create
from api.keys import ACCOUNTS, FAILED, FRESHNESS, SEEDED
from projections import ALL
from projections.kit import Model
from schemas.log import Connected, Minute, Ours, Received, SnapshotCompleted, SnapshotListed, SnapshotStarted
from schemas.settings import Settings
from services import database
from services.ami.protocol import LedgerProtocol
from services.clock import Clock
from services.ingest import Ingest
from services.project import project
from services.projector import Projector
from tests.captures import wire
from tests.services.fake_ami import NO_SPOOL

PASSWORD = "correct horse battery"

Client = TestClient[Any, Any]


class Ledger:
    """The log and the projector of a test; ``connection`` is for questions of the test's own."""

    def __init__(self, url: str, connection: asyncpg.Connection, projector: Projector) -> None:
        self.url = url
        self.connection = connection
        self.projector = projector

    async def close(self) -> None:
        await self.connection.close()
        await self.projector._connection.close()

    async def write(self, *said: bytes | Ours | Received, pbx: str = "pbx") -> int:
        """Put bytes of AMI (the way a socket's go) and events of ours into the log; return the last position."""
        ingest = Ingest(self.url, pbx, NO_SPOOL)
        protocol = LedgerProtocol(ingest.backlog.put_all, lambda _: None)
        protocol.closed, protocol.responses = False, {}
        for one in said:
            if isinstance(one, bytes):
                protocol.data_received(one)
            elif isinstance(one, Received):
                ingest.put(one)
            else:
                now = time.time()
                ingest.put(Received("ringledger", type(one).__name__, now, now, msgspec.json.encode(one)))
        ingest.stop()
        await ingest.run()
        position: int = await self.connection.fetchval("SELECT position FROM head")
        return position

    async def fold(self) -> None:
        """Fold all of the log, where no projector runs."""
        while await self.projector.advance():
            pass
        assert self.projector.stopped == {}


async def opened(url: str, models: Sequence[Model] = ALL) -> Ledger:
    projector = Projector(await database.connect(url, search_path="model, ledger"), models)
    await projector.open()
    return Ledger(url, await database.connect(url, search_path="model, ledger"), projector)


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
    await ledger.close()


@asynccontextmanager
async def projected(url: str) -> AsyncIterator[Ledger]:
    """A ledger with a projector that holds the lock, as in production."""
    ledger = await opened(url)
    stop = asyncio.Event()
    running = asyncio.create_task(project(url, stop))
    yield ledger
    stop.set()
    await running
    await ledger.close()


COMMANDER = "INSERT INTO ledger.commander (pbx, link, trouble) VALUES ('pbx', 'up', '')"
"""What a commander shows that is there: without it no act is requested."""

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
        ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(app[SEEDED].wait()), app[FAILED]]
        done, _ = await asyncio.wait(ends, timeout=300, return_when=asyncio.FIRST_COMPLETED)
        assert app[FAILED] not in done, app[FAILED].exception()
        assert done
        return client

    yield start
    for client in clients:
        await client.close()


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def stop_throttle_clock(client: Client, now: float = 0.0) -> None:
    """Let no wait after failed logins end by itself, however slow the machine is."""
    client.app[ACCOUNTS].throttle._clock = lambda: now


async def token(client: Client, name: str = "admin", password: str = PASSWORD) -> str:
    reply = await client.post("/v1/admin/login", headers=basic(name, password))
    assert reply.status == 200, await reply.text()
    found: str = (await reply.json())["result"]["authtoken"]
    return found


MINUTE = int(time.time()) // 60 * 60


def heard(data: bytes) -> list[bytes | Ours | Received]:
    """Put a recording between what our listener says; its answers to CoreStatus and CoreSettings are ours too."""
    answers: list[Received] = []
    for action, member in (("CoreStatus", b"CoreStartupDate"), ("CoreSettings", b"AMIversion")):
        found = re.search(rb"Response: Success\r\nActionID: [^\r]*(\r\n" + member + rb":.*?\r\n\r\n)", data, re.DOTALL)
        assert found
        raw = f"Response: Success\r\nActionID: ringledger/{MINUTE}/{action}".encode() + found[1]
        answers.append(Received("ami", f"Response:{action}", None, time.time(), raw))
    return [
        Connected("127.0.0.1:5038", "Asterisk Call Manager/11.0.0"),
        *(Minute(MINUTE - 60 * n, "up", 6000) for n in (3, 2, 1)),
        data,
        # Recorded in its own minute, however long ago that was by the time of this test.
        Received("ringledger", "SnapshotStarted", None, MINUTE, msgspec.json.encode(SnapshotStarted(MINUTE))),
        *answers,
        SnapshotListed(MINUTE, "CoreStatus", "complete"),
        SnapshotCompleted(MINUTE),
        Minute(MINUTE, "up", 6000),
    ]


class Recorded(Struct):
    """A client of an API over both recordings, folded once for all tests that only read."""

    client: Client
    ledger: Ledger


@pytest.fixture(scope="session")
async def recorded(template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Recorded]:
    connection = await asyncpg.connect(template)
    await connection.execute("CREATE DATABASE recorded TEMPLATE template_ringledger")
    ledger = await opened(template.replace("/postgres?", "/recorded?"))
    for name in ("rich22", "rich16"):
        await ledger.write(*heard(wire(name)), pbx=name)
    await ledger.fold()
    app = create(ledger.url, Settings(data=tmp_path_factory.mktemp("data"), admin_password=PASSWORD))
    client = TestClient(TestServer(app))
    await client.start_server()
    while not app[SEEDED].is_set():
        await app[FRESHNESS].refresh()
        await ledger.fold()
    login = asyncio.create_task(token(client))
    while not login.done():
        await app[FRESHNESS].refresh()
        await ledger.fold()
    client.session.headers["Authorization"] = f"Bearer {await login}"
    # However long the other tests take, the token does not expire, and the log gets no use of it.
    now, passed = time.time(), time.monotonic()
    app[ACCOUNTS]._clock = Clock(lambda: now, lambda: passed)
    yield Recorded(client, ledger)
    await client.close()
    await ledger.close()
    await connection.execute("DROP DATABASE recorded WITH (FORCE)")
    await connection.close()
