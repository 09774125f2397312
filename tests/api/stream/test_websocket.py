"""GET /v1/ws: what a client says on the way, and what it is answered."""

import asyncio
import json

import pytest
from aiohttp import WSServerHandshakeError

from api.stream import websocket as ws
from schemas.log import Disconnected, SnapshotCompleted, SnapshotStarted
from tests.api.http.test_freshness import newchannel
from tests.api.stream.test_sse import added, hangup
from tests.support.api_client import Client, admin_token
from tests.support.ledger import Ledger
from tests.support.stream_client import decode_message


async def test_a_websocket_says_on_the_way_what_it_wants(client: Client, ledger: Ledger) -> None:
    async with client.ws_connect("/v1/ws") as socket:
        await ledger.write(newchannel("1.1"))
        await socket.send_json({"subscribe": ["/core/channels/", "/queue"]})
        answer = await socket.receive_json(timeout=300)
        assert answer.pop("position") >= 0
        assert answer == {"subscribed": ["/core/channels", "/queue"]}
        await ledger.write(newchannel("1.2"), added("sales", "bob"))
        found = [decode_message((await socket.receive(timeout=300)).data) for _ in range(2)]
        if found[0].topic == "/core/channels/1.1":  # this process had not read it when it was asked
            found = [found[1], decode_message((await socket.receive(timeout=300)).data)]
        assert [m.topic for m in found] == ["/core/channels/1.2", "/queue/members/sales/bob"]
        await socket.send_json({"unsubscribe": ["/core/channels"]})
        assert (await socket.receive_json(timeout=300))["subscribed"] == ["/queue"]
        await ledger.write(hangup("1.2"), added("sales", "carol"))
        assert decode_message((await socket.receive(timeout=300)).data).topic == "/queue/members/sales/carol"


MISUNDERSTOOD: list[str | bytes] = [
    "",
    "{",
    "[]",
    "{}",
    '{"subscribe": "/core"}',
    '{"subscribe": ["/no"]}',
    '{"subscribe": ["/core", "/no"]}',
    '{"subscribe": ["/core"], "unsubscribe": []}',
    '{"subscribed": ["/core"]}',
    json.dumps({"subscribe": [f"/core/channels/{n}" for n in range(101)]}),
    b"\x00",
]


async def test_what_a_websocket_does_not_understand_changes_nothing(client: Client) -> None:
    async with client.ws_connect("/v1/ws", params={"topic": "/agents"}) as socket:
        for said in MISUNDERSTOOD:
            await (socket.send_bytes(said) if isinstance(said, bytes) else socket.send_str(said))
            assert list(await socket.receive_json(timeout=300)) == ["error"], said
            await socket.send_json({"unsubscribe": []})
            assert (await socket.receive_json(timeout=300))["subscribed"] == ["/agents"]


async def test_a_quiet_websocket_says_how_far_it_is(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws, "RECHECK_SECONDS", 0.02)
    monkeypatch.setattr(ws, "KEEP_ALIVE_SECONDS", 0.05)
    async with client.ws_connect("/v1/ws") as socket:
        last = await ledger.write(newchannel("1.1"))
        async with asyncio.timeout(300):
            while (await socket.receive_json()) != {"position": last}:
                pass


async def test_a_websocket_that_goes_on_waits_for_what_it_wants(client: Client, ledger: Ledger) -> None:
    first = await ledger.write(newchannel("1.1"))
    await ledger.write(newchannel("1.2"), Disconnected("x", 1.0), SnapshotStarted(9), SnapshotCompleted(9))
    async with client.ws_connect("/v1/ws", params={"last_event_id": str(first)}) as socket:
        await socket.send_json({"subscribe": ["/core/channels"]})
        assert await socket.receive_json(timeout=300) == {"subscribed": ["/core/channels"], "position": first}
        assert decode_message((await socket.receive(timeout=300)).data).topic == "/core/channels/1.2"


async def test_a_page_of_another_site_cannot_use_a_cookie(client: Client) -> None:
    mine = await admin_token(client)
    del client.session.headers["Authorization"]
    home = str(client.make_url("")).rstrip("/")
    for origin, query in ((home, ""), ("", ""), ("https://evil.example", f"?authtoken={mine}")):
        headers = {"Cookie": f"authtoken={mine}"} | ({"Origin": origin} if origin else {})
        async with client.ws_connect(f"/v1/ws{query}", headers=headers) as socket:
            await socket.send_json({"subscribe": ["/core"]})
            assert (await socket.receive_json(timeout=300))["subscribed"] == ["/core"]
    for origin in ("https://evil.example", "null", home + "0"):
        with pytest.raises(WSServerHandshakeError, match="403"):
            await client.ws_connect("/v1/ws", headers={"Cookie": f"authtoken={mine}", "Origin": origin})
