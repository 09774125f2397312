"""What the API serves while a person is erased, and after: the views stay, and the number is gone from all of them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.app_keys import CHECKPOINTS
from services.retention.redact import redact
from services.retention.redact_pattern import RedactionPattern
from tests.captures import wire
from tests.support.api_client import Client, Serve, admin_token
from tests.support.ledger import Ledger, projector_process

NUMBER = "5551234"
TOKEN = "redacted-ghijklmnopqr"
VIEWS = ("/v1/admin/core/channels", "/api/statistics/2026-11-22", "/v1/admin/queue/entries", "/peers")


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    async with projector_process(url) as ledger:
        yield ledger


def up_to_a_call_of(number: bytes) -> bytes:
    """Return a recording as far as the point where that number talks."""
    data = wire("rich22")
    end = data.index(b"Event: Hangup", data.index(b"CallerIDNum: " + number))
    return data[:end]


async def test_no_view_is_missing_and_none_shows_it_afterwards(serve: Serve, ledger: Ledger) -> None:
    position = await ledger.write(up_to_a_call_of(NUMBER.encode()))
    one, other = await serve(), await serve()
    for client in (one, other):
        client.session.headers["Authorization"] = f"Bearer {await admin_token(client)}"
    channels = VIEWS[0]
    past = {"as_of": str(position)}
    tags = {}
    for client in (one, other):
        async with asyncio.timeout(300):
            while int((reply := await client.get(channels)).headers["X-Ledger-Position"]) < position:
                await client.app[CHECKPOINTS].refresh()
        assert NUMBER in await reply.text()
        tags[client] = reply.headers["ETag"]
        was = await client.get(channels, params=past)
        assert NUMBER in await was.text()
        assert (await client.get(channels, params=past)).headers["ETag"] == was.headers["ETag"]

    over, begun = asyncio.Event(), asyncio.Event()
    asked = 0

    async def look(client: Client) -> None:
        nonlocal asked
        while not over.is_set():
            # Asked while saved states still hold it: this answer must not be kept beyond that.
            assert (await client.get(channels, params=past)).status == 200
            for path in VIEWS:
                reply = await client.get(path)
                assert reply.status == 200, await reply.text()
                asked += 1
            begun.set()

    looking = asyncio.create_task(look(one))
    await asyncio.wait_for(begun.wait(), 300)
    await redact(ledger.url, RedactionPattern("number", NUMBER), TOKEN)
    over.set()
    # The other one was not asked meanwhile, and has the old bytes in its memory.
    for client in (other, one):
        for path in VIEWS:
            reply = await client.get(path, headers={"If-None-Match": tags[client]} if path == channels else {})
            assert reply.status == 200
            assert NUMBER not in await reply.text()
        reply = await client.get(channels, params=past, headers={"If-None-Match": was.headers["ETag"]})
        assert reply.status == 200
        text = await reply.text()
        assert NUMBER not in text
        assert TOKEN in text
        reply = await client.get(channels)
        assert TOKEN in await reply.text()
        assert reply.headers["ETag"] != tags[client]
    await looking
    assert asked > 10
