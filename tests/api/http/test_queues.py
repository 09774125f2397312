"""Costly reads over HTTP: users take turns with a share each, and requests beyond the share are refused."""

import asyncio
from typing import Any

import pytest

from api.app_keys import POOL
from api.http.queues import QUEUES, USER_PLACES
from services.replay.as_of import AsOfReader
from tests.support.api_client import Client, Serve, bearer, log_in, serve_as_admin
from tests.support.channels_view import get_at, newchannel
from tests.support.leaving import disconnect
from tests.support.ledger import Ledger
from tests.support.polling import eventually
from tests.support.status import scrape
from tests.support.users import create_user

VIEW = "/v1/admin/core/channels"


@pytest.fixture
async def client(serve: Serve, ledger: Ledger) -> Client:
    client = await serve_as_admin(serve)
    await get_at(client, await ledger.write(*(newchannel(f"1.{n}") for n in range(2 * USER_PLACES))))
    return client


async def test_as_of_requests_delay_no_other_user(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    last: int = await ledger.connection.fetchval("SELECT position FROM head")
    await create_user(client, "bob", "admin")
    bob = bearer(await log_in(client, "bob", "admin"))
    may_fold, folded, fold = asyncio.Event(), [], AsOfReader.read

    async def fold_after_gate(self: AsOfReader, connection: Any, names: Any, instant: Any, *rest: Any) -> Any:
        folded.append(instant.position)
        await may_fold.wait()
        return await fold(self, connection, names, instant, *rest)

    monkeypatch.setattr(AsOfReader, "read", fold_after_gate)
    queue = client.app[QUEUES].as_of
    many = [asyncio.create_task(client.get(VIEW, params={"as_of": str(last - n)})) for n in range(USER_PLACES)]
    await eventually(lambda: queue.admitted == USER_PLACES, "all of one user are admitted")
    same = asyncio.create_task(client.get(VIEW, params={"as_of": str(folded[0])}))
    reply = await client.get(VIEW, params={"as_of": str(last - USER_PLACES)})
    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    assert (await reply.json())["statuscode"] == 503
    other = asyncio.create_task(client.get(VIEW, params={"as_of": str(last - USER_PLACES)}, headers=bob))
    await eventually(lambda: queue.admitted == USER_PLACES + 1, "the other user is admitted")
    metrics = await scrape(client)
    assert metrics["ringledger_queue_requests"][("as_of",)] == USER_PLACES + 1
    assert metrics["ringledger_queue_waiting"][("as_of",)] == USER_PLACES
    assert metrics["ringledger_queue_refused_total"][("as_of",)] == 1
    may_fold.set()
    replies = await asyncio.gather(*many, same, other)
    assert {reply.status for reply in replies} == {200}
    assert folded.index(last - USER_PLACES) == 2
    assert sorted(folded) == list(range(last - USER_PLACES, last + 1)), "each instant was folded once"
    assert (queue.admitted, queue.waiting) == (0, 0)


@pytest.mark.parametrize(
    ("name", "path", "query"),
    [
        ("explain", "/v1/ledger/explain", {"model": "channels", "key": '["1.1"]'}),
        ("search", "/v1/ledger/events", {"name": "Newchannel"}),
        ("search", "/v1/ledger/events", {"name": "Newchannel", "format": "ndjson"}),
    ],
)
async def test_explanations_and_searches_have_a_share(
    client: Client, name: str, path: str, query: dict[str, str]
) -> None:
    queue = getattr(client.app[QUEUES], name)
    async with queue.turn("other"):
        many = [asyncio.create_task(client.get(path, params=query)) for _ in range(USER_PLACES)]
        await eventually(lambda: queue.waiting == USER_PLACES, "all requests wait")
        reply = await client.get(path, params=query)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        await disconnect(*many[1:])
        await eventually(lambda: queue.waiting == 1, "one request waits")
        again = asyncio.create_task(client.get(path, params=query))
        await eventually(lambda: queue.waiting == 2, "another request is admitted")
    for reply in await asyncio.gather(many[0], again):
        assert reply.status == 200
        await reply.read()
    assert (queue.admitted, queue.waiting, queue.refused) == (0, 0, 1)


async def test_a_search_takes_a_turn_for_each_step(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.ledger.search.MIN_STEP", 4)
    queue = client.app[QUEUES].search
    query = {"name": "Newchannel", "format": "ndjson"}
    first = asyncio.create_task(client.get("/v1/ledger/events", params=query))
    async with queue.turn("other"):
        await eventually(lambda: queue.waiting == 1, "the search waits")
        turn, turns = queue.turn, []

        def count_and_take(user: str) -> Any:
            turns.append(user)
            return turn(user)

        monkeypatch.setattr(queue, "turn", count_and_take)
    lines = (await (await first).text()).splitlines()
    assert len(lines) == 2 * USER_PLACES + 1
    assert len(turns) > 2 * USER_PLACES // 4 - 1


async def test_queues_leave_a_connection_for_views(client: Client) -> None:
    """The three queues together use fewer connections than the pool has, so views are served meanwhile."""
    slots = sum(queue._free for queue in (client.app[QUEUES].as_of, client.app[QUEUES].explain))
    slots += client.app[QUEUES].search._free
    assert slots < client.app[POOL]._pool.get_max_size()
