"""PostgreSQL hangs, or accepts no connections: every request gets a response, and no decision is done twice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest import mock

import asyncpg
import pytest
from aiohttp import ClientResponse
from structlog.testing import capture_logs

from api.app_keys import CHECKPOINTS, HEARTBEAT
from projections import ALL
from services.database import heartbeat
from services.database.connection import connect
from services.database.embedded import Embedded
from services.database.locks import LOCK, Lock
from services.database.migrate import migrate
from services.runtime.outage import Outage
from tests.support.api_client import PASSWORD, Client, Serve, basic, serve_as_admin
from tests.support.freezing import crowded, frozen
from tests.support.ledger import Ledger, projector_process
from tests.support.polling import eventually
from tests.support.stream_client import open_stream
from tests.support.users import USERS

SECONDS = 300.0
"""A limit for busy machines. PostgreSQL stays frozen meanwhile, so no response comes from it."""
KEY = {"Idempotency-Key": "k1"}
USER = {"name": "bob", "password": "bob", "username": "bob"}
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'ringledger%' AND pid <> $1
"""
READS = (
    "/v1/admin/core/channels",
    "/v1/admin/core/channels?as_of=1",
    "/v1/ledger/events",
    "/v1/ledger/events?format=ndjson",
    "/v1/ledger/events/1",
    "/v1/ledger/status",
    "/v1/ledger/gaps",
    "/v1/ledger/explain?model=channels&key=%5B%221.1%22%5D",
    "/api/statistics/2026-11-20",
    "/v1/events",
)


@pytest.fixture
async def url(own_server: Embedded) -> AsyncIterator[str]:
    connection = await asyncpg.connect(own_server.url)
    await connection.execute("CREATE DATABASE silent")
    url = own_server.url.replace("/postgres?", "/silent?")
    migrator = await connect(url)
    await migrate(migrator)
    await migrator.close()
    yield url
    await connection.execute("DROP DATABASE silent WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    async with projector_process(url) as ledger:
        yield ledger


@pytest.fixture
async def client(serve: Serve, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Client:
    position = await ledger.write(b"Event: FullyBooted\r\n\r\n")
    client = await serve_as_admin(serve)
    await client.app[CHECKPOINTS].wait_folded([model.name for model in ALL], position)
    monkeypatch.setattr("services.database.heartbeat.SILENT_TICKS", 12)
    return client


async def get_503(client: Client, path: str, method: str = "GET", **options: Any) -> ClientResponse:
    async with asyncio.timeout(SECONDS):
        reply = await client.request(method, path, **options)
        assert reply.status == 503, (path, reply.status, await reply.text())
        assert reply.headers["Retry-After"], path
        await reply.read()
    return reply


@contextlib.contextmanager
def silent(server: Embedded) -> Iterator[None]:
    """Freeze the server, and let the heartbeat notice it after a quarter of a second instead of three."""
    with frozen(server), mock.patch.object(heartbeat, "TICK_SECONDS", 0.02):
        yield


async def users(ledger: Ledger) -> list[str]:
    return [row[0] for row in await ledger.connection.fetch("SELECT username FROM users ORDER BY username")]


async def wait_ready(client: Client) -> None:
    async def is_ready() -> bool:
        return bool((await client.get("/readyz")).status == 200)

    await eventually(is_ready, "the API is ready again", SECONDS)


async def test_every_request_is_answered_while_postgresql_hangs(
    client: Client, ledger: Ledger, own_server: Embedded
) -> None:
    with silent(own_server):
        replies = await asyncio.gather(
            *(get_503(client, path) for path in READS),
            get_503(client, USERS, "POST", json=USER, headers=KEY),
            get_503(client, "/v1/admin/login", "POST", headers=basic("admin", PASSWORD)),
            *(get_503(client, USERS, "POST", json={**USER, "username": f"u{n}"}) for n in range(7)),
        )
        ready, metrics = await asyncio.gather(get_503(client, "/readyz"), client.get("/metrics"))
        assert "the database does not answer" in (await ready.json())["reasons"]
        assert metrics.status == 200
        text = await metrics.text()
        assert "ringledger_postgresql_up 0.0" in text
        assert "process_resident_memory_bytes" in text
        assert client.app[HEARTBEAT].silent
        # After that no request waits for PostgreSQL.
        await asyncio.gather(*(get_503(client, path) for path in READS))
        assert all(reply.status == 503 for reply in replies)
    await wait_ready(client)
    assert (await client.post(USERS, json=USER, headers=KEY)).status == 200
    assert (await users(ledger)).count("bob") == 1


async def test_failed_requests_log_one_line(client: Client, own_server: Embedded) -> None:
    client.app[HEARTBEAT].outage = Outage("database_unreachable", "database_reachable", clock=lambda: 0.0)
    with capture_logs() as lines, silent(own_server):
        for _ in range(2):
            await asyncio.gather(*(get_503(client, path) for path in (*READS, "/readyz")), client.get("/metrics"))
    assert [line["event"] for line in lines].count("database_unreachable") == 1
    await wait_ready(client)


async def test_a_decision_with_lost_result_is_done_once(client: Client, ledger: Ledger, own_server: Embedded) -> None:
    """PostgreSQL freezes after it has received the append and before it responds; it commits the append later."""
    blocker = await asyncpg.connect(ledger.url)
    await blocker.execute(LOCK, Lock.APPEND)
    request = asyncio.create_task(get_503(client, USERS, "POST", json=USER, headers=KEY))

    async def is_waiting() -> bool:
        return bool(await ledger.connection.fetchval(WAITING))

    await eventually(is_waiting, "the append waits for its lock", SECONDS)
    with silent(own_server):
        reply = await request
        assert "may have been done" in (await reply.json())["message"]
    await blocker.close()
    await wait_ready(client)
    again = await client.post(USERS, json=USER, headers=KEY)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert await users(ledger) == ["admin", "bob"]


async def test_requests_are_503_while_postgresql_accepts_no_connections(client: Client, ledger: Ledger) -> None:
    async with crowded(ledger.url) as take:

        async def is_refused() -> bool:
            await ledger.connection.execute(CUT, ledger.connection.get_server_pid())
            await take()
            return (await client.get("/v1/ledger/events")).status == 503

        await eventually(is_refused, "the API has no connection left", SECONDS)
        reply = await get_503(client, "/v1/ledger/events")
        assert (await reply.json())["message"] == "the database takes no more connections"
        await get_503(client, USERS, "POST", json=USER, headers=KEY)
        await get_503(client, "/v1/admin/login", "POST", headers=basic("admin", PASSWORD))
        metrics = await client.get("/metrics")
        assert (metrics.status, "ringledger_postgresql_up 0.0" in await metrics.text()) == (200, True)
    await wait_ready(client)
    assert (await client.post(USERS, json=USER, headers=KEY)).status == 200
    assert await users(ledger) == ["admin", "bob"]


async def test_a_stream_continues_after_a_postgresql_freeze(
    client: Client, ledger: Ledger, own_server: Embedded
) -> None:
    async with open_stream(client, "/core/channels") as stream:
        with silent(own_server):
            await eventually(lambda: client.app[HEARTBEAT].silent, "the heartbeat stops", SECONDS)
        await wait_ready(client)
        await ledger.write(b"Event: Newchannel\r\nChannel: PJSIP/1-1\r\nChannelState: 6\r\nUniqueid: 9.9\r\n\r\n")
        assert [message.what for message in await stream.take(1)] == ["core.channel.create"]
