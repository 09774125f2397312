"""A running read ends when its user loses access: the token, the permission or the user is deleted."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientError, ClientResponse

from api.app_keys import COMMANDS
from api.http.queues import QUEUES
from api.ledger.search import Search
from services.replay.as_of import AsOfReader
from tests.support.api_client import Client, Serve, bearer, log_in, serve_as_admin
from tests.support.channels_view import get_at, newchannel
from tests.support.leaving import WAIT_SECONDS, running_requests
from tests.support.ledger import COMMANDER, Ledger
from tests.support.polling import eventually
from tests.support.users import PERMISSIONS, USERS, create_user

VIEW = "/v1/admin/core/channels"
EVENTS = "/v1/ledger/events"


@pytest.fixture
async def client(serve: Serve, ledger: Ledger) -> Client:
    client = await serve_as_admin(serve)
    await get_at(client, await ledger.write(newchannel("1.1")))
    return client


class Reader:
    """A second admin, whose reads wait while the first admin ends the access."""

    def __init__(self, client: Client, uuid: str, token: str) -> None:
        self.client, self.uuid, self.token = client, uuid, token

    async def begin(self, path: str, **query: str) -> "asyncio.Task[ClientResponse]":
        before = running_requests()
        request = asyncio.create_task(self.client.get(path, params=query, headers=bearer(self.token)))
        await eventually(lambda: running_requests() > before, "the read is under way")
        return request

    async def delete(self) -> None:
        assert (await self.client.delete(f"{USERS}/{self.uuid}")).status == 200

    async def log_out(self) -> None:
        assert (await self.client.delete("/v1/admin/login", headers=bearer(self.token))).status == 200

    async def new_password(self) -> None:
        reply = await self.client.put(f"{USERS}/{self.uuid}", json={"password": "another long password"})
        assert reply.status == 200

    async def lose_permission(self) -> None:
        grants = (await (await self.client.get(PERMISSIONS)).json())["result"]["list"]
        (grant,) = [g["uuid"] for g in grants if (g["user_uuid"], g["permission"]) == (self.uuid, "admin")]
        assert (await self.client.delete(f"{PERMISSIONS}/{grant}")).status == 200


@pytest.fixture
async def reader(client: Client) -> Reader:
    uuid = await create_user(client, "alice", "admin", "user")
    return Reader(client, uuid, await log_in(client, "alice", "admin"))


async def wait_reply(request: "asyncio.Task[ClientResponse]", status: int) -> ClientResponse:
    async with asyncio.timeout(WAIT_SECONDS):
        reply = await request
    assert reply.status == status
    return reply


END = {
    "delete": (Reader.delete, 401),
    "log_out": (Reader.log_out, 401),
    "new_password": (Reader.new_password, 401),
    "lose_permission": (Reader.lose_permission, 403),
}
End = Callable[[Reader], Awaitable[None]]


@pytest.mark.parametrize("how", END)
async def test_a_long_poll_ends_with_its_access(reader: Reader, how: str) -> None:
    end, status = END[how]
    request = await reader.begin(VIEW, wait="60")
    await end(reader)
    reply = await wait_reply(request, status)
    body = await reply.json()
    assert (body["statuscode"], "result" in body) == (status, False)
    if status == 401:
        assert reply.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/v1/ledger/gaps", "/api/statistics/2026-11-22", "/v1/me/contacts"])
async def test_every_long_poll_ends_with_its_access(reader: Reader, path: str) -> None:
    request = await reader.begin(path, wait="60")
    await reader.log_out()
    await wait_reply(request, 401)


async def test_a_long_poll_ignores_other_access_that_ends(client: Client, ledger: Ledger, reader: Reader) -> None:
    other = Reader(client, reader.uuid, await log_in(client, "alice", "admin"))
    request = await reader.begin(VIEW, wait="60")
    await other.log_out()
    grants = (await (await client.get(PERMISSIONS)).json())["result"]["list"]
    (grant,) = [g["uuid"] for g in grants if (g["user_uuid"], g["permission"]) == (reader.uuid, "user")]
    assert (await client.delete(f"{PERMISSIONS}/{grant}")).status == 200
    assert not request.done()
    await ledger.write(newchannel("1.2"))
    assert "1.2" in await (await wait_reply(request, 200)).text()


@pytest.mark.parametrize("is_queued", [False, True])
async def test_an_as_of_ends_with_its_access(
    reader: Reader, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *, is_queued: bool
) -> None:
    has_begun, last = asyncio.Event(), await ledger.write(newchannel("1.2"))

    async def endless(*_: Any) -> None:
        has_begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(AsOfReader, "read", endless)
    queue = reader.client.app[QUEUES].as_of
    request = await reader.begin(VIEW, as_of=str(last))
    await eventually(has_begun.is_set, "the fold has begun")
    if is_queued:
        request = await reader.begin(VIEW, as_of=str(last - 1))
        await eventually(lambda: queue.waiting == 1, "the read waits for its turn")
    await reader.log_out()
    await wait_reply(request, 401)
    await eventually(lambda: queue.admitted == 0, "the queue is empty")


async def test_an_explanation_ends_with_its_access(reader: Reader) -> None:
    queue = reader.client.app[QUEUES].explain
    async with queue.turn("other"):
        request = await reader.begin("/v1/ledger/explain", model="channels", key='["1.1"]')
        await eventually(lambda: queue.waiting == 1, "the read waits for its turn")
        await reader.lose_permission()
        await wait_reply(request, 403)
        assert queue.admitted == 0


async def test_a_download_is_cut_off_with_its_access(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    pages, has_begun = Search.pages, asyncio.Event()

    async def endless(self: Search, limit: int | None) -> Any:
        async for page in pages(self, limit):
            yield page
            has_begun.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(Search, "pages", endless)
    reply = await (await reader.begin(EVENTS, format="ndjson"))
    assert reply.status == 200
    await eventually(has_begun.is_set, "a page is sent")
    await reader.delete()
    with pytest.raises(ClientError):
        async with asyncio.timeout(WAIT_SECONDS):
            await reply.read()
    assert reader.client.app[QUEUES].search.admitted == 0


async def test_a_running_act_is_answered_after_a_logout(
    reader: Reader, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.commands.act.OUTCOME_SECONDS", 0.0)
    facts, has_begun, gate = reader.client.app[COMMANDS].writer, asyncio.Event(), asyncio.Event()
    append = facts.append

    async def append_after_gate(*events: Any, **options: Any) -> Any:
        if type(events[0]).__name__ == "ActRequested":
            has_begun.set()
            await gate.wait()
        return await append(*events, **options)

    monkeypatch.setattr(facts, "append", append_after_gate)
    await ledger.connection.execute(COMMANDER)
    request = asyncio.create_task(reader.client.delete(f"{VIEW}/1.1", headers=bearer(reader.token)))
    await eventually(has_begun.is_set, "the act is requested")
    await reader.log_out()
    gate.set()
    reply = await wait_reply(request, 504)
    assert (await reply.json())["position"] == await ledger.connection.fetchval("SELECT position FROM ledger.head")
