"""ETag, 304 and wait of calls and statistics: a client that polls gets the next change of a call, and no other."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientResponse

from api.app_keys import CHECKPOINTS
from tests.projections.calls.story.scenes import connected, rung, waiting
from tests.support.api_client import Client
from tests.support.ledger import Ledger
from tests.support.scene import Scene, uid

PATHS = (
    *("/v1/calls", "/v1/calls?full=true&state=talking", "/v1/calls?format=ndjson", f"/v1/calls/{uid(1)}"),
    "/v1/statistics/queues?from=2026-11-22T00:00:00Z&to=2026-11-24T00:00:00Z",
)


async def folded(client: Client, ledger: Ledger, scene: Scene) -> None:
    position = await ledger.write(*scene.events)
    scene.events.clear()
    await client.app[CHECKPOINTS].wait_folded(["calls", "gaps"], position)


async def poll(client: Client, path: str, tag: str, **params: str) -> ClientResponse:
    return await client.get(path, params=params, headers={"If-None-Match": tag})


@pytest.mark.parametrize("path", PATHS)
async def test_a_poll_ends_with_the_next_change(client: Client, ledger: Ledger, path: str) -> None:
    scene = rung(waiting())
    await folded(client, ledger, scene)
    before = await client.get(path)
    tag = before.headers["ETag"]
    assert (await poll(client, path, tag)).status == 304
    # An event that changes no call leaves the tag as it is.
    scene.emit("PeerStatus", Peer="PJSIP/100", PeerStatus="Reachable")
    await folded(client, ledger, scene)
    assert (await poll(client, path, tag)).status == 304
    waiter = asyncio.create_task(poll(client, path, tag, wait="60"))
    await folded(client, ledger, connected(scene))
    reply = await waiter
    assert (reply.status, reply.headers["ETag"] == tag) == (200, False)
    served = await (await client.get(path)).read()
    assert served != await before.read()
    # The projector may take the events in several batches, each of which is a change.
    while await reply.read() != served:
        reply = await poll(client, path, reply.headers["ETag"], wait="60")
        assert reply.status == 200


async def test_a_call_that_begins_ends_a_poll(client: Client, ledger: Ledger) -> None:
    empty: dict[str, Any] = await (await client.get("/v1/calls?queue=sales")).json()
    tag = (await client.get("/v1/calls?queue=sales")).headers["ETag"]
    waiter = asyncio.create_task(poll(client, "/v1/calls?queue=sales", tag, wait="60"))
    await folded(client, ledger, waiting())
    reply = await waiter
    while not (calls := (await reply.json())["calls"]):
        reply = await poll(client, "/v1/calls?queue=sales", reply.headers["ETag"], wait="60")
    assert (empty["calls"], [(call["linkedid"], call["state"]) for call in calls]) == ([], [(uid(1), "waiting")])
