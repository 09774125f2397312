"""PostgreSQL is restored with older data while an API process and a projector run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from api.app import create
from api.app_keys import CHECKPOINTS, SEEDED
from schemas.settings import Settings
from services.database.connection import connect
from services.projector.process import project
from tests.support.api_client import PASSWORD, Client, admin_token, basic
from tests.support.channels_view import CHANNELS_VIEW, get_at, items_of, newchannel
from tests.support.ledger import Ledger, open_ledger
from tests.support.polling import eventually, present
from tests.support.restoring import Backup
from tests.support.stream_client import EventStream, open_stream

CHECKPOINT = "SELECT min(position) FROM checkpoint WHERE place = 'model'"


class World:
    """A log that can be restored, with a projector and an API that keep running."""

    def __init__(self, ledger: Ledger, client: Client, backup: Backup) -> None:
        self.client = client
        self._ledger = ledger
        self._backup = backup

    async def write(self, *events: bytes) -> int:
        return await self._ledger.write(*events)

    async def backup(self) -> None:
        """Take a backup once all events are folded."""
        head = await self._ledger.connection.fetchval("SELECT position FROM head")

        async def is_folded() -> bool:
            return bool(await self._ledger.connection.fetchval(CHECKPOINT) >= head)

        await eventually(is_folded, "all models have folded the log")
        await self._backup.take()
        await self._connect()

    async def restore(self) -> int:
        """Restore the backup; return the last position of the log."""
        await self._backup.restore()
        await self._connect()
        position: int = await self._ledger.connection.fetchval("SELECT position FROM head")
        return position

    async def _connect(self) -> None:
        self._ledger.connection = await connect(self._ledger.url, search_path="model, ledger")

    async def wait_noticed(self) -> None:
        """Wait until the API has read the checkpoints again."""
        async with asyncio.timeout(300):
            while not await self.client.app[CHECKPOINTS].refresh():
                pass


@pytest.fixture
async def world(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    # Each test cuts all connections twice.
    for pause in ("services.projector.process.POLL_SECONDS", "services.projector.checkpoints.watcher.RETRY_SECONDS"):
        monkeypatch.setattr(pause, 0.1)
    ledger = await open_ledger(url)
    await ledger.projector._connection.close()
    stop = asyncio.Event()
    projector = asyncio.create_task(project(url, stop))
    app = create(url, Settings(data=tmp_path, admin_password=PASSWORD))
    async with Backup(url) as backup, TestClient(TestServer(app)) as client:
        await asyncio.wait_for(app[SEEDED].wait(), 300)
        client.session.headers["Authorization"] = f"Bearer {await admin_token(client)}"
        yield World(ledger, client, backup)
        await client.close()
        stop.set()
        await projector
        await ledger.connection.close()


async def retry_503(request: Callable[[], Awaitable[ClientResponse]]) -> ClientResponse:
    """Repeat the request while its status is 503, as it may be until the lost connections are noticed."""

    async def reply() -> ClientResponse | None:
        response = await request()
        return response if response.status != 503 else None

    return await present(reply, "the API answers")


@pytest.mark.parametrize("is_fork", [False, True])
async def test_a_rewind_closes_streams(world: World, is_fork: bool) -> None:  # noqa: FBT001
    await world.write(newchannel("1.1"))
    await world.backup()
    await get_at(world.client, await world.write(newchannel("1.2"), newchannel("1.3")))
    async with open_stream(world.client, last=0) as stream:
        await stream.take(3)
        head = await world.restore()
        if is_fork:  # the log grows past the old position before a process notices
            await world.write(*(newchannel(f"2.{n}") for n in range(10)))
        assert await stream.rest() == []
        assert stream.error == {
            "error": "the log lost its newest events; read the views again and begin without an id",
            "code": "rewound",
        }
        assert stream.last_id == "", "a browser begins again without an id"
    position = await world.write(newchannel("3.1"))
    await world.wait_noticed()
    async with open_stream(world.client, last=head) as stream:
        *_, last = await stream.take(1 + 10 * is_fork)
        assert (last.of["unique_id"], last.position) == ("3.1", position)


async def test_a_rewind_closes_websockets(world: World) -> None:
    await world.write(newchannel("1.1"))
    await world.backup()
    await get_at(world.client, await world.write(newchannel("1.2")))
    async with world.client.ws_connect("/v1/ws?topic=/core/channels") as socket:
        await world.restore()
        async with asyncio.timeout(300):
            message = await socket.receive()
        assert (socket.close_code, message.extra) == (
            1012,
            "rewound: the log lost its newest events; read the views again and begin without an id",
        )


async def test_a_new_stream_skips_lost_events(world: World) -> None:
    await world.write(newchannel("1.1"))
    await world.backup()
    await get_at(world.client, await world.write(newchannel("1.2")))
    async with open_stream(world.client, last=0) as old:
        await old.take(2)
        head = await world.restore()
        reply = await retry_503(lambda: world.client.get("/v1/events"))
        assert reply.status == 200
        position = await world.write(newchannel("1.3"))
        (message,) = await EventStream(reply).take(1)
        reply.close()
        assert (message.of["unique_id"], message.position) == ("1.3", position)
        assert position > head


async def test_an_id_beyond_the_log_is_refused(world: World) -> None:
    await world.backup()
    last = await world.write(newchannel("1.1"), newchannel("1.2"))
    head = await world.restore()
    headers = {"Last-Event-ID": str(last)}
    reply = await retry_503(lambda: world.client.get("/v1/events", headers=headers))
    assert (reply.status, f"the log ends at {head}" in await reply.text()) == (400, True)


async def test_the_first_decision_after_a_rewind_succeeds(world: World) -> None:
    await world.client.post("/v1/admin/user/users", json={"username": "a", "password": "long enough 1"})
    await world.backup()
    key = {"Idempotency-Key": "lost"}
    body = {"username": "b", "password": "long enough 2", "permissions": [{"permission": "user"}]}
    lost = await world.client.post("/v1/admin/user/users", json=body, headers=key)
    assert lost.status < 300, await lost.text()
    head = await world.restore()
    again = await retry_503(lambda: world.client.post("/v1/admin/user/users", json=body, headers=key))
    assert again.status < 300, await again.text()
    assert "Idempotency-Replayed" not in again.headers
    assert int(again.headers["X-Ledger-Position"]) == head + 2
    replayed = await world.client.post("/v1/admin/user/users", json=body, headers=key)
    assert replayed.headers["Idempotency-Replayed"] == "true"
    taken = await world.client.post("/v1/admin/user/users", json=body)
    assert taken.status == 409
    assert (await world.client.post("/v1/me/login", headers=basic("b", "long enough 2"))).status == 200


async def test_readyz_and_metrics_show_the_rewound_log(world: World) -> None:
    await world.backup()
    await get_at(world.client, await world.write(*(newchannel(f"1.{n}") for n in range(100))))
    head = await world.restore()
    await world.wait_noticed()

    async def ready_body() -> dict[str, Any] | None:
        async with world.client.get("/readyz") as reply:
            body: dict[str, Any] = await reply.json()
        assert body["position"] == head
        return body if reply.status == 200 else None

    body = await present(ready_body, "/readyz is 200")
    assert {model["position"] for model in body["models"].values()} == {head}
    metrics = await (await world.client.get("/metrics")).text()
    assert 'ringledger_model_lag_events{model="channels"} 0.0' in metrics


async def test_views_and_tags_reflect_the_rewound_log(world: World) -> None:
    await world.write(newchannel("1.1"))
    await world.backup()
    lost = await get_at(world.client, await world.write(newchannel("1.2")))
    head = await world.restore()
    await world.wait_noticed()
    tag = {"If-None-Match": lost.headers["ETag"]}
    reply = await world.client.get(CHANNELS_VIEW, headers=tag, params={"wait": "30"})
    assert (reply.status, int(reply.headers["X-Ledger-Position"])) == (200, head)
    assert reply.headers["X-Ledger-Lag-Ms"] == "0"
    assert [item["unique_id"] for item in await items_of(reply)] == ["1.1"]
    # Another channel gets the position of the lost one.
    await get_at(world.client, await world.write(newchannel("1.3")))
    reply = await world.client.get(CHANNELS_VIEW, headers=tag)
    assert reply.headers["X-Ledger-Position"] == lost.headers["X-Ledger-Position"]
    assert (reply.status, [item["unique_id"] for item in await items_of(reply)]) == (200, ["1.1", "1.3"])


async def test_a_rewind_ends_long_polls(world: World) -> None:
    await world.write(newchannel("1.1"))
    await world.backup()
    lost = await get_at(world.client, await world.write(newchannel("1.2")))
    tag = {"If-None-Match": lost.headers["ETag"]}
    waiting = asyncio.create_task(world.client.get(CHANNELS_VIEW, headers=tag, params={"wait": "50"}))
    await asyncio.sleep(0)
    await world.restore()
    reply = await asyncio.wait_for(waiting, 45)  # less than its own limit
    assert (reply.status, [item["unique_id"] for item in await items_of(reply)]) == (200, ["1.1"])


async def test_as_of_reads_the_rewound_log(world: World) -> None:
    await world.write(newchannel("1.1"))
    await world.backup()
    position = await world.write(newchannel("1.2"))
    past = {"as_of": str(position)}
    await get_at(world.client, position)
    lost = await world.client.get(CHANNELS_VIEW, params=past)
    assert [item["unique_id"] for item in await items_of(lost)] == ["1.1", "1.2"]
    await world.restore()
    assert await world.write(newchannel("1.3")) == position
    await world.wait_noticed()
    reply = await world.client.get(CHANNELS_VIEW, params=past, headers={"If-None-Match": lost.headers["ETag"]})
    assert (reply.status, [item["unique_id"] for item in await items_of(reply)]) == (200, ["1.1", "1.3"])
