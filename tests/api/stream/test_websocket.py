"""GET /v1/ws: messages of the client and their responses."""

import asyncio
import json

import pytest
from aiohttp import WSServerHandshakeError

from api.stream import websocket
from schemas.log import Disconnected, SnapshotCompleted, SnapshotStarted
from tests.support.api_client import Client, admin_token
from tests.support.channels_view import hangup, newchannel
from tests.support.ledger import Ledger
from tests.support.queue_members import dynamic_member_added
from tests.support.stream_client import decode_message


async def test_a_websocket_client_changes_its_topics(client: Client, ledger: Ledger) -> None:
    async with client.ws_connect("/v1/ws") as socket:
        await ledger.write(newchannel("1.1"))
        await socket.send_json({"subscribe": ["/core/channels/", "/queue"]})
        answer = await socket.receive_json(timeout=300)
        assert answer.pop("position") >= 0
        assert answer == {"subscribed": ["/core/channels", "/queue"]}
        await ledger.write(newchannel("1.2"), dynamic_member_added("sales", "bob"))
        messages = [decode_message((await socket.receive(timeout=300)).data) for _ in range(2)]
        if messages[0].topic == "/core/channels/1.1":  # appended before the subscription, read after it
            messages = [messages[1], decode_message((await socket.receive(timeout=300)).data)]
        assert [m.topic for m in messages] == ["/core/channels/1.2", "/queue/members/sales/bob"]
        await socket.send_json({"unsubscribe": ["/core/channels"]})
        assert (await socket.receive_json(timeout=300))["subscribed"] == ["/queue"]
        await ledger.write(hangup("1.2"), dynamic_member_added("sales", "carol"))
        assert decode_message((await socket.receive(timeout=300)).data).topic == "/queue/members/sales/carol"


INVALID_MESSAGES: list[str | bytes] = [
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


async def test_an_invalid_message_changes_no_subscription(client: Client) -> None:
    async with client.ws_connect("/v1/ws", params={"topic": "/agents"}) as socket:
        for text in INVALID_MESSAGES:
            await (socket.send_bytes(text) if isinstance(text, bytes) else socket.send_str(text))
            assert list(await socket.receive_json(timeout=300)) == ["error"], text
            await socket.send_json({"unsubscribe": []})
            assert (await socket.receive_json(timeout=300))["subscribed"] == ["/agents"]


async def test_an_idle_websocket_sends_its_position(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "RECHECK_SECONDS", 0.02)
    monkeypatch.setattr(websocket, "KEEP_ALIVE_SECONDS", 0.05)
    async with client.ws_connect("/v1/ws") as socket:
        last = await ledger.write(newchannel("1.1"))
        async with asyncio.timeout(300):
            while (await socket.receive_json()) != {"position": last}:
                pass


async def test_a_resumed_websocket_waits_for_topics(client: Client, ledger: Ledger) -> None:
    first = await ledger.write(newchannel("1.1"))
    await ledger.write(newchannel("1.2"), Disconnected("x", 1.0), SnapshotStarted(9), SnapshotCompleted(9))
    async with client.ws_connect("/v1/ws", params={"last_event_id": str(first)}) as socket:
        await socket.send_json({"subscribe": ["/core/channels"]})
        assert await socket.receive_json(timeout=300) == {"subscribed": ["/core/channels"], "position": first}
        assert decode_message((await socket.receive(timeout=300)).data).topic == "/core/channels/1.2"


async def test_a_cookie_needs_the_same_origin(client: Client) -> None:
    token = await admin_token(client)
    del client.session.headers["Authorization"]
    home = str(client.make_url("")).rstrip("/")
    for origin, query in ((home, ""), ("", ""), ("https://evil.example", f"?authtoken={token}")):
        headers = {"Cookie": f"authtoken={token}"} | ({"Origin": origin} if origin else {})
        async with client.ws_connect(f"/v1/ws{query}", headers=headers) as socket:
            await socket.send_json({"subscribe": ["/core"]})
            assert (await socket.receive_json(timeout=300))["subscribed"] == ["/core"]
    for origin in ("https://evil.example", "null", home + "0"):
        with pytest.raises(WSServerHandshakeError, match="403"):
            await client.ws_connect("/v1/ws", headers={"Cookie": f"authtoken={token}", "Origin": origin})
