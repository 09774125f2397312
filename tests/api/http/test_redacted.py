"""Views during and after a redaction: they stay available, and afterwards none contains the number."""

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


def recording_up_to_call(number: bytes) -> bytes:
    """Return a recording up to a point within a call of the number."""
    data = wire("rich22")
    end = data.index(b"Event: Hangup", data.index(b"CallerIDNum: " + number))
    return data[:end]


async def test_views_stay_available_during_a_redaction(serve: Serve, ledger: Ledger) -> None:
    position = await ledger.write(recording_up_to_call(NUMBER.encode()))
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
        old = await client.get(channels, params=past)
        assert NUMBER in await old.text()
        assert (await client.get(channels, params=past)).headers["ETag"] == old.headers["ETag"]

    is_over, has_begun = asyncio.Event(), asyncio.Event()
    count = 0

    async def read_views(client: Client) -> None:
        nonlocal count
        while not is_over.is_set():
            # Saved states still contain the number: the API must not cache this response beyond the redaction.
            assert (await client.get(channels, params=past)).status == 200
            for path in VIEWS:
                reply = await client.get(path)
                assert reply.status == 200, await reply.text()
                count += 1
            has_begun.set()

    reader = asyncio.create_task(read_views(one))
    await asyncio.wait_for(has_begun.wait(), 300)
    await redact(ledger.url, RedactionPattern("number", NUMBER), TOKEN)
    is_over.set()
    # The other process got no requests meanwhile, and its cache has the old bytes.
    for client in (other, one):
        for path in VIEWS:
            reply = await client.get(path, headers={"If-None-Match": tags[client]} if path == channels else {})
            assert reply.status == 200
            assert NUMBER not in await reply.text()
        reply = await client.get(channels, params=past, headers={"If-None-Match": old.headers["ETag"]})
        assert reply.status == 200
        text = await reply.text()
        assert NUMBER not in text
        assert TOKEN in text
        reply = await client.get(channels)
        assert TOKEN in await reply.text()
        assert reply.headers["ETag"] != tags[client]
    await reader
    assert count > 10
