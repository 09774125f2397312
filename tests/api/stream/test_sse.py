"""GET /v1/events, and the parts it shares with /v1/ws: messages, permissions, refusals, and the end of a stream."""

import asyncio

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from api.app_keys import ACCOUNTS, CHECKPOINTS, COMMANDS
from api.stream import hub, sse, websocket
from api.stream.hub import STREAMS
from schemas.log import SnapshotListed, SnapshotStarted
from schemas.users import TokenIssued, TokenRevoked
from services.accounts.accounts import token_hash
from tests.support.api_client import Client, RecordedApi, admin_token
from tests.support.channels_view import FULLY_BOOTED, get_at, hangup, items_of, newchannel, varset
from tests.support.ledger import Ledger
from tests.support.queue_members import dynamic_member_added
from tests.support.stream_client import decode_message, open_stream
from tests.support.users import add_user_with_password


async def test_a_call_sends_create_update_and_delete(client: Client, ledger: Ledger) -> None:
    async with open_stream(client) as stream:
        assert stream.reply.headers["X-Ledger-Position"].isdigit()
        assert stream.reply.headers["Cache-Control"] == "no-store"
        created = await ledger.write(newchannel("1.1", CallerIDNum="555"))
        changed = await ledger.write(varset("1.1", "SECRET_PIN", "1234"))
        await ledger.write(FULLY_BOOTED)
        deleted = await ledger.write(hangup("1.1"))
        one, two, three = await stream.take(3)
    assert stream.retry > 0
    assert [m.what for m in (one, two, three)] == ["core.channel.create", "core.channel.update", "core.channel.delete"]
    assert {m.topic for m in (one, two, three)} == {"/core/channels/1.1"}
    assert [(m.id, m.position) for m in (one, two, three)] == [(str(p), p) for p in (created, changed, deleted)]
    assert (one.of["pbx"], one.of["unique_id"], one.of["caller_id_num"]) == ("pbx", "1.1", "555")
    assert (one.of["variables"], two.of["variables"]) == ({}, {"SECRET_PIN": "********"})
    assert three.of["unique_id"] == "1.1"
    assert one.of["duration"] == 0


async def test_a_stream_after_a_view_misses_nothing(client: Client, ledger: Ledger) -> None:
    reply = await get_at(client, await ledger.write(newchannel("1.1")))
    await ledger.write(newchannel("1.2"))
    assert [item["unique_id"] for item in await items_of(reply)] == ["1.1"]
    position = reply.headers["X-Ledger-Position"]
    for last, query in ((position, {}), (None, {"last_event_id": position}), (position, {"last_event_id": "0"})):
        async with open_stream(client, last=last, **query) as stream:
            assert [m.topic for m in await stream.take(1)] == ["/core/channels/1.2"]


async def test_topics_match_whole_segments_and_pbx_filters(client: Client, ledger: Ledger) -> None:
    async with (
        open_stream(client, "/queue/members/sales") as sales,
        open_stream(client, "/queue/members/sales/al%2Fice/", "/core") as two,
        open_stream(client, pbx="other") as other,
    ):
        await ledger.write(
            dynamic_member_added("sales", "al/ice"),
            dynamic_member_added("sales2", "bob"),
            dynamic_member_added("sales", "carol"),
        )
        await ledger.write(newchannel("1.1"))
        last = await ledger.write(dynamic_member_added("sales", "dave"), newchannel("1.2"), pbx="other")
        assert [(m.topic, m.of["pbx"]) for m in await sales.take(3)] == [
            ("/queue/members/sales/al%2Fice", "pbx"),
            ("/queue/members/sales/carol", "pbx"),
            ("/queue/members/sales/dave", "other"),
        ]
        assert [m.topic for m in await two.take(3)] == [
            "/queue/members/sales/al%2Fice",
            "/core/channels/1.1",
            "/core/channels/1.2",
        ]
        assert [m.topic for m in await other.take(2)] == ["/queue/members/sales/dave", "/core/channels/1.2"]
        assert other.has_reached(last)


async def test_a_moved_call_leaves_its_old_topic(client: Client, ledger: Ledger) -> None:
    parked = (
        "Event: ParkedCall\r\nParkeeUniqueid: 1.1\r\nParkeeChannel: c\r\nParkinglot: {}\r\n"
        "ParkingSpace: 701\r\nParkingTimeout: 45\r\nParkingDuration: 0\r\n\r\n"
    )
    async with open_stream(client, "/park/parkedcalls") as stream:
        await ledger.write(parked.format("a").encode())
        moved = await ledger.write(parked.format("b").encode())
        messages = await stream.take(3)
    assert [(m.what, m.topic) for m in messages] == [
        ("park.parkedcall.create", "/park/parkedcalls/a/1.1"),
        ("park.parkedcall.delete", "/park/parkedcalls/a/1.1"),
        ("park.parkedcall.create", "/park/parkedcalls/b/1.1"),
    ]
    assert [m.id for m in messages[1:]] == [f"{moved}.1", str(moved)]
    assert (messages[0].of["parking_duration"], messages[0].of["parking_timeout"]) == (0, 45)


async def test_a_row_missing_from_a_list_is_deleted(client: Client, ledger: Ledger) -> None:
    async with open_stream(client, "/core/channels") as stream:
        await ledger.write(newchannel("1.1"), newchannel("1.2"), newchannel("1.3"))
        swept = await ledger.write(SnapshotStarted(7), SnapshotListed(7, "CoreShowChannels", "empty"))
        messages = await stream.take(6)
    assert [(m.what[-6:], m.id) for m in messages[3:]] == [  # after the updates of three calls
        ("delete", f"{swept}.4"),
        ("delete", f"{swept}.5"),
        ("delete", f"{swept}"),
    ]


async def test_an_idle_stream_sends_its_position(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "RECHECK_SECONDS", 0.02)
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.05)
    async with open_stream(client, "/agents") as stream:
        last = await ledger.write(newchannel("1.1"), FULLY_BOOTED)
        async with asyncio.timeout(300):
            while not stream.has_reached(last):
                assert await stream.next() is None


async def test_streams_require_the_permission_admin(client: Client) -> None:
    await add_user_with_password(client, "otto", "user")
    issued = await client.app[COMMANDS].writer.append(TokenIssued(token_hash("otto's"), "otto", actor="otto"))
    await client.app[CHECKPOINTS].wait_folded(("tokens",), issued)
    for path in ("/v1/events", "/v1/ws"):
        for bearer, status in (("", 401), ("nobody's", 401), ("otto's", 403)):
            reply = await client.get(path, headers={"Authorization": f"Bearer {bearer}"})
            assert (reply.status, (await reply.json())["statuscode"]) == (status, status)
    assert client.app[STREAMS]._open == 0


INVALID_QUERIES = [
    ({"topic": "core"}, "topic: "),
    ({"topic": "/cores"}, "topic: "),
    ({"topic": "/core/channel"}, "topic: "),
    ({"topic": ""}, "topic: "),
    ({"last_event_id": "x"}, "last_event_id: "),
    ({"last_event_id": ""}, "last_event_id: "),
    ({"last_event_id": "-1"}, "last_event_id: "),
    ({"last_event_id": "1.x"}, "last_event_id: "),
    ({"last_event_id": "99999999"}, "last_event_id: there is no position 99999999, the log ends at "),
    ({"last_event_id": "1" * 30}, "last_event_id: "),
    ({"topics": "/core"}, "topics: unknown parameter"),
]


@pytest.mark.parametrize(("query", "message"), INVALID_QUERIES)
async def test_an_invalid_query_is_400(recorded: RecordedApi, query: dict[str, str], message: str) -> None:
    client = recorded.client
    reply = await client.get("/v1/events", params=query)
    body = await reply.json()
    assert (reply.status, body["statuscode"], body["message"][: len(message)]) == (400, 400, message)
    reply = await client.get("/v1/events", headers={"Last-Event-ID": "nonsense"})
    assert reply.status == 400
    assert client.app[STREAMS]._open == 0


async def test_head_opens_no_stream(client: Client) -> None:
    reply = await client.head("/v1/events")
    assert (reply.status, reply.content_type) == (200, "text/event-stream")
    assert (await client.get("/v1/ws")).status == 426
    assert (await client.post("/v1/events")).status == 405
    assert client.app[STREAMS]._open == 0
    metrics = await (await client.get("/metrics")).text()
    assert 'ringledger_http_requests_total{method="HEAD",route="/v1/events",status="200"} 1.0' in metrics
    assert 'seconds_count{route="/v1/events"} 0.0' in metrics


async def test_the_number_of_streams_is_limited(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MAX_STREAMS", 2)
    async with open_stream(client) as stream, open_stream(client, "/core"):
        reply = await client.get("/v1/events")
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        with pytest.raises(WSServerHandshakeError, match="503"):
            await client.ws_connect("/v1/ws")
        await ledger.write(newchannel("1.1"))
        await stream.take(1)


async def test_a_revoked_token_closes_its_streams(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "RECHECK_SECONDS", 0.05)
    monkeypatch.setattr(websocket, "RECHECK_SECONDS", 0.05)
    token = await admin_token(client)
    async with (
        open_stream(client, authtoken=token) as stream,
        client.ws_connect("/v1/ws", params={"authtoken": token}) as socket,
        open_stream(client) as other,
    ):
        await client.app[COMMANDS].writer.append(TokenRevoked(token_hash(token), "logout", actor=""))
        assert await stream.rest() == []
        assert stream.error == {"error": "the token has ended; log in again", "code": "logged-out"}
        message = await socket.receive(timeout=300)
        assert (message.type, message.data, message.extra) == (
            WSMsgType.CLOSE,
            1008,
            "logged-out: the token has ended; log in again",
        )
        assert not other.reply.content.at_eof()


async def test_an_open_stream_keeps_its_token_in_use(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "RECHECK_SECONDS", 0.02)
    accounts = client.app[ACCOUNTS]
    token = await admin_token(client)
    async with open_stream(client, authtoken=token):
        entry = accounts._tokens[token_hash(token)]
        entry.used -= 1000.0
        before = entry.used
        async with asyncio.timeout(300):
            while accounts._tokens[token_hash(token)].used <= before + 900:
                await client.app[CHECKPOINTS].refresh()


async def test_a_stopping_server_closes_streams_with_a_reason(client: Client, ledger: Ledger) -> None:
    async with open_stream(client) as stream, client.ws_connect("/v1/ws", params={"topic": "/core"}) as socket:
        await ledger.write(newchannel("1.1"))
        await stream.take(1)
        assert decode_message((await socket.receive(timeout=300)).data).what == "core.channel.create"
        closing = asyncio.create_task(client.server.close())
        assert await stream.rest() == []
        assert stream.error == {"error": "this server stops; continue with the last id", "code": "stopping"}
        message = await socket.receive(timeout=300)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
        await socket.close()
        await asyncio.wait_for(closing, 300)


def test_messages_are_joined_up_to_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "CHUNK_BYTES", 4)
    assert list(sse.chunks([b"ab", b"c", b"defgh", b"i"])) == [b"abcdefgh", b"i"]
    assert list(sse.chunks([b"abcd", b"e", b"fg", b"h"])) == [b"abcd", b"efgh"]
    assert list(sse.chunks([])) == []
