"""Streams that are closed or refused: after archives and redactions, by failed models, and by limits."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType
from msgspec.structs import replace

from api.app_keys import CHECKPOINTS
from api.jade.stream import CATALOG
from api.stream import client_stream, hub, live_buffer
from api.stream.client_stream import ClientStream
from api.stream.closing import StreamClosed
from api.stream.hub import STREAMS
from api.stream.live_buffer import LiveBuffer
from api.stream.messages import LAST_NUMBER, MessageBatch, StreamMessage
from api.stream.topics import TopicFilter
from projections import ALL
from projections.calls import channels
from projections.engine.fold import Fold
from services.log.read import head_position
from services.replay.subscription import Subscription
from services.retention import redact_pattern
from services.retention.redact import redact
from tests.captures import wire
from tests.support.api_client import Client, Serve, serve_as_admin
from tests.support.archiving import append_months, run_archive
from tests.support.channels_view import newchannel
from tests.support.ledger import Ledger, projector_process
from tests.support.stream_client import open_stream

NUMBER = "5551234"
TOKEN = "redacted-ghijklmnopqr"


def gated(gate: asyncio.Event) -> Any:
    """Return a `Subscription.read` that waits for the gate first."""
    read = Subscription.read

    async def wait_and_read(self: Subscription, pool: Any, upto: int) -> Any:
        await gate.wait()
        async for event in read(self, pool, upto):
            yield event

    return wait_and_read


async def test_a_stream_before_the_start_is_410(
    serve: Serve, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = await append_months(ledger.url)
    client = await serve_as_admin(serve)
    head = await head_position(ledger.connection)
    async with open_stream(client, last=ends[1]) as near:
        before = await near.take(50)
    await client.app[CHECKPOINTS].wait_folded([model.name for model in ALL], head)
    async with open_stream(client, last=0) as far:
        monkeypatch.setattr(Subscription, "read", gated(gate := asyncio.Event()))
        await far.take(10)
        await run_archive(ledger.url, tmp_path / "files", "2026-05")
        gate.set()
        assert [m for m in await far.rest() if m.position > ends[1]] == []
        assert far.error is not None
        assert far.error["code"] == "archived"
        assert re.fullmatch(r"position \d+ is archived: 2026-0[34].jsonl.zst holds .*", far.error["error"])
    async with open_stream(client, last=ends[1]) as near:
        assert await near.take(50) == before
    for last, file in ((ends[1] - 1, "2026-04"), (f"{ends[1]}.1", "2026-04"), (0, "2026-03")):
        reply = await client.get("/v1/events", headers={"Last-Event-ID": str(last)})
        assert (reply.status, reply.headers["X-Ledger-Archive"]) == (410, f"{file}.jsonl.zst")
    await ledger.connection.execute("DELETE FROM ledger.saved WHERE model = 'channels'")
    reply = await client.get("/v1/events", headers={"Last-Event-ID": str(ends[1])})
    assert reply.status == 410
    assert "channels (version" in (await reply.json())["message"]
    assert client.app[STREAMS]._catching_up == 0


@pytest.fixture
async def ledger_with_process(url: str) -> AsyncIterator[Ledger]:
    async with projector_process(url) as ledger:
        yield ledger


class TestRedaction:
    @pytest.fixture
    async def ledger(self, ledger_with_process: Ledger) -> Ledger:
        return ledger_with_process

    async def test_no_stream_has_the_number_after_a_redaction(self, serve: Serve, ledger: Ledger) -> None:
        data = wire("rich22")
        middle = data.index(b"Event: Hangup", data.index(b"CallerIDNum: " + NUMBER.encode()))
        position = await ledger.write(data[:middle])
        client = await serve_as_admin(serve)
        async with (
            open_stream(client, last=position) as stream,
            client.ws_connect("/v1/ws", params={"topic": "/core"}) as socket,
        ):
            await ledger.write(newchannel("77.1", CallerIDNum=NUMBER))
            messages = await stream.take(1)
            while messages[-1].of.get("unique_id") != "77.1":
                messages += await stream.take(1)
            assert NUMBER in str(messages[-1].of)
            assert NUMBER in (await socket.receive_str(timeout=300))
            redaction = asyncio.create_task(
                redact(ledger.url, redact_pattern.RedactionPattern("number", NUMBER), TOKEN)
            )
            assert NUMBER not in str(await stream.rest())
            assert stream.error == {"error": "the log was redacted; read the views again", "code": "redacted"}
            message = await socket.receive(timeout=300)
            assert (message.type, message.data) == (WSMsgType.CLOSE, 1012)
        # The redaction still runs, and saved states may contain the number: a new stream waits for its end.
        async with open_stream(client, last=position) as stream:
            again = await stream.take(len(messages))
        await redaction
        assert TOKEN in str(again)
        assert NUMBER not in str(again)
        assert [m.id for m in again] == [m.id for m in messages]


async def test_a_new_stream_discards_an_unredacted_buffer(client: Client, ledger: Ledger) -> None:
    first = await ledger.write(newchannel("1.1"))
    async with open_stream(client, last=first - 1) as stream:
        await stream.take(1)
        buffer = client.app[STREAMS]._shared
        assert buffer is not None
        (before := buffer.opening.result()).redacted = -1
        async with open_stream(client, last="0.5") as other:
            assert client.app[STREAMS]._shared is not buffer
            assert [m.topic for m in await other.take(1)] == ["/core/channels/1.1"]
            assert before._messages == []
            assert await stream.rest() == []
            assert stream.error is not None
            assert stream.error["code"] == "redacted"


async def test_a_failed_model_closes_and_refuses_streams(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_stream(client) as stream:
        await ledger.write(newchannel("1.1"))
        await stream.take(1)
        is_broken = True

        fold_row = Fold._fold_row

        def fail(self: Fold, handler: Any, key: Any, shaped: Any, event: Any) -> None:
            nonlocal is_broken
            is_of_the_stream = self._on_change is not None  # the projector's fold has no such function
            if is_of_the_stream and self.model is channels.CHANNELS and is_broken and key[1] == "6.6":
                raise ZeroDivisionError
            fold_row(self, handler, key, shaped, event)

        monkeypatch.setattr(Fold, "_fold_row", fail)
        position = await ledger.write(newchannel("6.6"))
        assert await stream.rest() == []
        text = f"read model channels at position {position} (Newchannel) cannot be folded"
        assert stream.error == {"error": text, "code": "broken"}
    reply = await client.get("/v1/events")
    assert (reply.status, (await reply.json())["message"], reply.headers["Retry-After"]) == (503, text, "1")
    is_broken = False
    async with open_stream(client, last=position - 1) as stream:
        assert [m.position for m in await stream.take(1)] == [position]


async def test_streams_that_catch_up_are_limited(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_buffer, "START_EVENTS", 0)
    monkeypatch.setattr(hub, "MAX_CATCHING_UP", 1)
    monkeypatch.setattr(client_stream, "STEP_EVENTS", 1)
    first = await ledger.write(newchannel("1.1"))
    await ledger.write(newchannel("1.2"))
    gate = asyncio.Event()
    read = Subscription.read

    async def wait_and_read(self: Subscription, pool: Any, upto: int) -> Any:
        if self.position < upto == first + 1:
            await gate.wait()
        async for event in read(self, pool, upto):
            yield event

    monkeypatch.setattr(Subscription, "read", wait_and_read)
    async with open_stream(client) as near, open_stream(client, last=first) as far:
        reply = await client.get("/v1/events", headers={"Last-Event-ID": str(first)})
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        assert "too many streams begin far back" in (await reply.json())["message"]
        gate.set()
        assert [m.topic for m in await far.take(1)] == ["/core/channels/1.2"]
        async with open_stream(client, last=first) as other:
            await other.take(1)
        assert near.error is None


def message(position: int, number: int = LAST_NUMBER, size: int = 10) -> StreamMessage:
    return StreamMessage((position, number), "/core/channels/1/", "pbx", b"x" * size)


class Start:
    """The state of a subscription at position 4."""

    position, redacted = 4, 0


@pytest.mark.parametrize("bound", ["messages", "bytes"])
def test_a_full_live_buffer_drops_whole_events(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(live_buffer, "MAX_MESSAGES", 4 if bound == "messages" else 100)
    monkeypatch.setattr(live_buffer, "MAX_BYTES", 1000 if bound == "messages" else 49)
    buffer = LiveBuffer(None, Start(), CATALOG)  # type: ignore[arg-type]
    assert (buffer.oldest, buffer.covers((4, LAST_NUMBER)), buffer.covers((4, 2)), buffer.covers((3, LAST_NUMBER))) == (
        4,
        True,
        False,
        False,
    )
    buffer._put([message(6)])
    buffer._put([message(8, 1), message(8, 2), message(8)])
    assert (buffer.oldest, buffer.position, buffer.count) == (4, 8, 4)
    assert [
        buffer.after(place)
        for place in ((4, LAST_NUMBER), (6, LAST_NUMBER), (7, LAST_NUMBER), (8, 1), (8, LAST_NUMBER), (9, 1))
    ] == [
        0,
        1,
        1,
        2,
        4,
        4,
    ]
    assert [m.message_id for m in buffer.since(1).messages] == [(8, 1), (8, 2), (8, LAST_NUMBER)]
    buffer._put([message(9)])
    assert (buffer.oldest, buffer.covers((6, LAST_NUMBER)), buffer.covers((6, 1))) == (6, True, False)
    with pytest.raises(StreamClosed, match="too slowly"):
        buffer.since(0)
    buffer._put([message(11)])
    assert (buffer.oldest, [m.message_id[0] for m in buffer.since(4).messages]) == (8, [9, 11])
    buffer.close(StreamClosed("redacted", "gone", 1012))
    with pytest.raises(StreamClosed, match="gone"):
        buffer.since(4)


async def test_streams_with_equal_topics_wait_together() -> None:
    buffer = LiveBuffer(None, Start(), CATALOG)  # type: ignore[arg-type]
    core, agents = TopicFilter(("/core/",)), TopicFilter(("/agents/",))
    waiters = [asyncio.create_task(buffer.wait(one, 10)) for one in (core, core, agents)]
    await asyncio.sleep(0)
    buffer._put([replace(message(5, 1), topic="/queue/queues/q/"), message(5)])
    buffer._put([message(6)])
    assert [await one for one in waiters[:2]] == [1, 1]
    assert await buffer.wait(agents, 0.0) == 3  # no match so far, so the next message is the first that may match
    assert not waiters[2].done()
    buffer.wake(agents)
    assert await waiters[2] == 3
    late = asyncio.create_task(buffer.wait(core, 10))
    await asyncio.sleep(0)
    buffer.close(StreamClosed("stopping", "", 1001))
    assert await late == 3


async def test_a_stream_ahead_repeats_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_buffer, "BATCH_MESSAGES", 2)
    buffer = LiveBuffer(None, Start(), CATALOG)  # type: ignore[arg-type]
    stream = ClientStream(None, buffer, (9, 1), asyncio.Lock(), lambda: None)  # type: ignore[arg-type]
    all_topics = TopicFilter(("/",))
    assert await stream.next_batch(0.0, all_topics) == MessageBatch([], 4, is_whole=False)
    buffer._put([message(8)])
    buffer._put([message(9, 1), message(9, 2), message(9)])
    assert await stream.next_batch(9.0, all_topics) == MessageBatch([], 9, is_whole=False)
    assert stream.position == 8
    assert await stream.next_batch(9.0, all_topics) == MessageBatch([message(9, 2), message(9)], 9)
    assert stream.position == 9
    buffer.close(StreamClosed("slow", "", 1013))
    with pytest.raises(StreamClosed):
        await stream.next_batch(9.0, all_topics)
