"""Clients that disconnect: a read ends with its client, a write continues to its end."""

import asyncio
import io
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from api.app_keys import ACCOUNTS, COMMANDS, VIEWS
from api.http.views.view import Query
from api.process import serve as serve_until
from services.replay.as_of import AsOfReader
from tests.bench.http import Client as Connection
from tests.support.api_client import PASSWORD, Client, Serve, admin_token
from tests.support.channels_view import get_at, newchannel
from tests.support.leaving import WAIT_SECONDS, disconnect, running_requests
from tests.support.ledger import COMMANDER, Ledger
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.users import USERS, own_events

VIEW = "/v1/admin/core/channels"


@asynccontextmanager
async def process(ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Run the process of ``ringledger serve``, and return its port."""
    port, stop = free_port(), asyncio.Event()
    for name, value in {
        "DATABASE_URL": ledger.url,
        "DATA": str(folder),
        "HTTP": f"127.0.0.1:{port}",
        "ADMIN_PASSWORD": PASSWORD,
    }.items():
        monkeypatch.setenv(f"RINGLEDGER_{name}", value)
    server = asyncio.create_task(serve_until(None, stop))
    yield port
    stop.set()
    await server


async def test_a_long_poll_ends_with_its_client(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.bench.http.PASSWORD", PASSWORD)
    async with process(ledger, tmp_path, monkeypatch) as port:
        first = await (await Connection(port).open()).login()
        authtoken, others = first.token, [await Connection(port).open() for _ in range(20)]
        before = running_requests()
        for other in others:
            other.token = authtoken
            other._writer.write(f"GET {VIEW}?wait=60&authtoken={authtoken} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await eventually(lambda: running_requests() == before + 20, "the long polls wait")
        for other in others:
            other.close()
        await eventually(lambda: running_requests() == before, "the long polls have ended")
        assert (await first.get("/healthz"))[0] == 200
        first.close()


async def test_a_rendering_continues_while_one_client_waits(client: Client, ledger: Ledger) -> None:
    await get_at(client, await ledger.write(newchannel("1.1")))
    views, may_look = client.app[VIEWS], asyncio.Event()
    look, looks = views._look, 0

    async def slow(*args: Any) -> Any:
        nonlocal looks
        looks += 1
        await may_look.wait()
        return await look(*args)

    views._look = slow
    views._cache.clear()
    first, second = (asyncio.create_task(client.get(VIEW)) for _ in range(2))
    await eventually(lambda: running_requests() == 2, "both requests wait")
    await disconnect(first)
    await eventually(lambda: running_requests() == 1, "one request waits")
    may_look.set()
    assert (await second).status == 200
    assert looks == 1


SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"


async def test_a_query_ends_when_no_client_waits(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait_sleeping(number: int) -> None:
        async def is_reached() -> bool:
            return bool(await ledger.connection.fetchval(SLEEPING) == number)

        await eventually(is_reached, f"{number} queries sleep", WAIT_SECONDS)

    async def look(query: Query) -> Any:
        return await views._read(query.view.models, lambda connection: connection.fetch("SELECT pg_sleep(600)"))

    views = client.app[VIEWS]
    monkeypatch.setattr(views, "_look", look)
    requests = [asyncio.create_task(client.get(VIEW)) for _ in range(3)]
    await wait_sleeping(1)
    await disconnect(*requests)
    await wait_sleeping(0)
    assert views._rendering._flights == {}


async def test_an_abandoned_as_of_is_not_folded(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = await ledger.write(*(newchannel(f"1.{n}") for n in range(10)))
    may_fold, folded, fold = asyncio.Event(), [], AsOfReader.read

    async def fold_after_gate(self: AsOfReader, connection: Any, names: Any, instant: Any, *rest: Any) -> Any:
        folded.append(instant.position)
        await may_fold.wait()
        return await fold(self, connection, names, instant, *rest)

    monkeypatch.setattr(AsOfReader, "read", fold_after_gate)
    requests = [asyncio.create_task(client.get(VIEW, params={"as_of": str(last - n)})) for n in range(8)]
    await eventually(lambda: running_requests() == 8 and bool(folded), "one request folds and the others wait")
    last_request = next(n for n, request in enumerate(requests) if last - n != folded[0])
    await disconnect(*(request for n, request in enumerate(requests) if n != last_request))
    await eventually(lambda: running_requests() == 1, "one request waits")
    may_fold.set()
    assert (await requests[last_request]).status == 200
    assert folded == [folded[0], last - last_request]


@pytest.fixture
def gate(client: Client) -> tuple[asyncio.Event, asyncio.Event]:
    """Delay appends: the first event is set once an append begins, the second lets it continue."""
    writer = client.app[COMMANDS].writer
    append, has_begun, may_continue = writer.append, asyncio.Event(), asyncio.Event()

    async def append_when_allowed(*args: Any, **options: Any) -> Any:
        has_begun.set()
        await may_continue.wait()
        return await append(*args, **options)

    writer.append = append_when_allowed
    return has_begun, may_continue


async def wait_appended(ledger: Ledger, name: str, number: int = 1) -> list[dict[str, Any]]:
    async def is_there() -> bool:
        return len(await own_events(ledger, name)) == number

    await eventually(is_there, f"{number} {name} in the log", WAIT_SECONDS)
    return await own_events(ledger, name)


async def test_a_decision_survives_a_disconnect(
    client: Client, ledger: Ledger, gate: tuple[asyncio.Event, asyncio.Event]
) -> None:
    has_begun, may_continue = gate
    before = await own_events(ledger, "UserCreated")
    request = asyncio.create_task(client.post(USERS, json={"username": "alice", "password": "a long password"}))
    await eventually(has_begun.is_set, "the append has begun")
    await disconnect(request)
    await eventually(lambda: running_requests() == 0, "the server has noticed the disconnect")
    may_continue.set()
    assert (await wait_appended(ledger, "UserCreated", len(before) + 1))[-1]["username"] == "alice"
    # The fact is folded, and the decision lock is free.
    assert (await client.post(USERS, json={"username": "alice", "password": "a long password"})).status == 409


@pytest.mark.parametrize("key", [None, "key"])
async def test_an_act_is_requested_despite_a_disconnect(
    client: Client, ledger: Ledger, gate: tuple[asyncio.Event, asyncio.Event], key: str | None
) -> None:
    await get_at(client, await ledger.write(newchannel("1.1")))
    await ledger.connection.execute(COMMANDER)
    has_begun, may_continue = gate
    headers = {"Idempotency-Key": key} if key else {}
    request = asyncio.create_task(client.delete(f"{VIEW}/1.1", headers=headers))
    await eventually(has_begun.is_set, "the append has begun")
    await disconnect(request)
    await eventually(lambda: running_requests() == 0, "the server has noticed the disconnect")
    may_continue.set()
    (requested,) = await wait_appended(ledger, "ActRequested")
    assert "PJSIP/100-0000000a" in str(requested["act"])


async def test_a_stuck_write_does_not_block_shutdown(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.finishing.DRAIN_SECONDS", 0.01)
    client = await serve()
    headers = {"Authorization": f"Bearer {await admin_token(client)}"}
    has_begun = asyncio.Event()

    async def endless(*_: Any, **__: Any) -> Any:
        has_begun.set()
        await asyncio.Event().wait()

    client.app[COMMANDS].writer.append = endless
    body = {"username": f"user-{uuid.uuid4()}", "password": "a long password"}
    request = asyncio.create_task(client.post(USERS, json=body, headers=headers))
    await eventually(has_begun.is_set, "the append has begun")
    await disconnect(request)
    monkeypatch.setattr(client.app[ACCOUNTS], "unsaved_uses", lambda **_: [])
    async with asyncio.timeout(300):
        await client.close()
    with suppress(asyncio.CancelledError):
        await request


@pytest.mark.parametrize("key", ["", "Idempotency-Key: 1\r\n"])
async def test_a_disconnect_within_a_body_logs_nothing(serve: Serve, key: str) -> None:
    client = await serve()
    head = f"POST {USERS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {await admin_token(client)}\r\n{key}"
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
        writer.write(f'{head}Content-Length: 40\r\n\r\n{{"a'.encode())
        await eventually(lambda: running_requests() == 1, "the request begins")
        writer.transport.abort()
        await eventually(lambda: running_requests() == 0, "the request ends")
    assert logs == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("path", [USERS, "/agents/"])
async def test_a_body_with_a_wrong_encoding_is_400(client: Client, encoding: str, path: str) -> None:
    request = client.post if path == USERS else client.get
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    response = await request(path, data=io.BytesIO(b"no such thing"), headers=headers)
    assert response.status == 400
    assert "Content-Encoding" in (await response.json())["message"]
