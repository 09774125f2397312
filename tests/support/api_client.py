"""Clients of the API in a test's own process, and how they log in."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec import Struct

from api.app import create
from api.app_keys import ACCOUNTS, CHECKPOINTS, FAILED, SEEDED
from schemas.settings import Settings
from tests.support.ledger import Ledger
from tests.support.polling import TIMEOUT_SECONDS

PASSWORD = "correct horse battery"
Client = TestClient[Any, Any]
Serve = Callable[..., Awaitable[Client]]
"""Starts an API process's application with these settings; called twice there are two."""


class RecordedApi(Struct):
    """An API over both recordings, folded once for all tests that only read."""

    client: Client
    ledger: Ledger


@asynccontextmanager
async def api_starter(ledger: Ledger, data: Path) -> AsyncIterator[Serve]:
    """Yield the function that starts applications on the ledger; all are closed at the end."""
    clients: list[Client] = []

    async def start(**settings: Any) -> Client:
        app = create(ledger.url, Settings(data=data, **{"admin_password": PASSWORD, **settings}))
        client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(app[SEEDED].wait()), app[FAILED]]
        done, _ = await asyncio.wait(ends, timeout=TIMEOUT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        assert app[FAILED] not in done, app[FAILED].exception()
        assert done
        return client

    yield start
    for client in clients:
        await client.close()


def basic(username: str, password: str) -> dict[str, str]:
    """Return the header of HTTP Basic."""
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


async def log_in(client: Client, username: str, family: str = "me", password: str = PASSWORD) -> str:
    """Log in at ``/v1/<family>/login``, and return the token."""
    reply = await client.post(f"/v1/{family}/login", headers=basic(username, password))
    assert reply.status == 200, await reply.text()
    token: str = (await reply.json())["result"]["authtoken"]
    return token


async def admin_token(client: Client, username: str = "admin", password: str = PASSWORD) -> str:
    """Log in as an admin, and return the token."""
    return await log_in(client, username, "admin", password)


async def serve_as_admin(serve: Serve, **settings: Any) -> Client:
    """Return a client of a new API process that is logged in as admin."""
    client = await serve(**settings)
    client.session.headers["Authorization"] = f"Bearer {await admin_token(client)}"
    return client


def stop_throttle_clock(client: Client, now: float = 0.0) -> None:
    """Let no wait after failed logins end by itself, however slow the machine is."""
    client.app[ACCOUNTS].throttle._clock = lambda: now


@asynccontextmanager
async def serving(ledger: Ledger, folder: Path) -> AsyncIterator[Client]:
    app = create(ledger.url, Settings(data=folder, admin_password=PASSWORD))
    client = TestClient[Any, Any](TestServer(app))
    await client.start_server()
    while not app[SEEDED].is_set():
        await app[CHECKPOINTS].refresh()
        await ledger.fold()
    login = asyncio.create_task(admin_token(client))
    while not login.done():
        await app[CHECKPOINTS].refresh()
        await ledger.fold()
    client.session.headers["Authorization"] = f"Bearer {await login}"
    yield client
    await client.close()


def application() -> web.Application:
    return create("postgresql://nobody@/none", Settings(database_url="postgresql://nobody@/none"))
