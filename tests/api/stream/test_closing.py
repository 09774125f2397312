"""What ends a stream or keeps it from beginning: archives, redactions, models that fail, too much at once."""

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
from api.stream import client_stream as stream
from api.stream import hub as streams
from api.stream import live_buffer as live
from api.stream.client_stream import ClientStream
from api.stream.closing import StreamClosed
from api.stream.hub import STREAMS
from api.stream.live_buffer import LiveBuffer
from api.stream.messages import WHOLE_EVENT, Batch, Message
from api.stream.topics import TopicFilter
from projections import ALL
from projections.calls import channels
from projections.engine.fold import Fold
from services.log.read import head_position
from services.replay.subscription import Subscription
from services.retention import redact_pattern
from services.retention.redact import redact
from tests.api.http.test_freshness import newchannel
from tests.captures import wire
from tests.support.api_client import Client, Serve, admin_token
from tests.support.archiving import append_months, run_archive
from tests.support.ledger import Ledger, projector_process
from tests.support.stream_client import open_stream

NUMBER = "5551234"
TOKEN = "redacted-ghijklmnopqr"


def gated(going: asyncio.Event) -> Any:
    """Return what reads as a tail does, when it may."""
    read = Subscription.read

    async def waiting(self: Subscription, pool: Any, upto: int) -> Any:
        await going.wait()
        async for one in read(self, pool, upto):
            yield one

    return waiting


async def test_what_is_archived_is_gone_and_the_edge_is_a_beginning(
    serve: Serve, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = await append_months(ledger.url)
    client = await serve()
    client.session.headers["Authorization"] = f"Bearer {await admin_token(client)}"
    head = await head_position(ledger.connection)
    async with open_stream(client, last=ends[1]) as one:
        before = await one.take(50)
    await client.app[CHECKPOINTS].wait_folded([model.name for model in ALL], head)
    async with open_stream(client, last=0) as far:
        monkeypatch.setattr(Subscription, "read", gated(going := asyncio.Event()))
        await far.take(10)
        await run_archive(ledger.url, tmp_path / "files", "2026-05")
        going.set()
        assert [m for m in await far.rest() if m.position > ends[1]] == []
        assert far.error is not None
        assert far.error["code"] == "archived"
        assert re.fullmatch(r"position \d+ is archived: 2026-0[34].jsonl.zst holds .*", far.error["error"])
    async with open_stream(client, last=ends[1]) as one:
        assert await one.take(50) == before
    for last, file in ((ends[1] - 1, "2026-04"), (f"{ends[1]}.1", "2026-04"), (0, "2026-03")):
        reply = await client.get("/v1/events", headers={"Last-Event-ID": str(last)})
        assert (reply.status, reply.headers["X-Ledger-Archive"]) == (410, f"{file}.jsonl.zst")
    await ledger.connection.execute("DELETE FROM ledger.saved WHERE model = 'channels'")
    reply = await client.get("/v1/events", headers={"Last-Event-ID": str(ends[1])})
    assert reply.status == 410
    assert "channels (version" in (await reply.json())["message"]
    assert client.app[STREAMS]._catching_up == 0


@pytest.fixture
async def redacting(url: str) -> AsyncIterator[Ledger]:
    async with projector_process(url) as ledger:
        yield ledger


class TestRedaction:
    @pytest.fixture
    async def ledger(self, redacting: Ledger) -> Ledger:
        return redacting

    async def test_after_a_redaction_nobody_is_told_of_what_was(self, serve: Serve, ledger: Ledger) -> None:
        data = wire("rich22")
        talks = data.index(b"Event: Hangup", data.index(b"CallerIDNum: " + NUMBER.encode()))
        position = await ledger.write(data[:talks])
        client = await serve()
        client.session.headers["Authorization"] = f"Bearer {await admin_token(client)}"
        async with (
            open_stream(client, last=position) as one,
            client.ws_connect("/v1/ws", params={"topic": "/core"}) as socket,
        ):
            await ledger.write(newchannel("77.1", CallerIDNum=NUMBER))
            told = await one.take(1)
            while told[-1].of.get("unique_id") != "77.1":
                told += await one.take(1)
            assert NUMBER in str(told[-1].of)
            assert NUMBER in (await socket.receive_str(timeout=300))
            erasing = asyncio.create_task(redact(ledger.url, redact_pattern.RedactionPattern("number", NUMBER), TOKEN))
            assert NUMBER not in str(await one.rest())
            assert one.error == {"error": "the log was redacted; read the views anew", "code": "redacted"}
            message = await socket.receive(timeout=300)
            assert (message.type, message.data) == (WSMsgType.CLOSE, 1012)
        # It is not over yet: saved states may hold the number still. Whoever comes now waits for the end of it.
        async with open_stream(client, last=position) as one:
            again = await one.take(len(told))
        await erasing
        assert TOKEN in str(again)
        assert NUMBER not in str(again)
        assert [m.id for m in again] == [m.id for m in told]


async def test_what_was_kept_is_not_told_though_the_redaction_is_not_noticed_yet(
    client: Client, ledger: Ledger
) -> None:
    first = await ledger.write(newchannel("1.1"))
    async with open_stream(client, last=first - 1) as one:
        await one.take(1)
        edge = client.app[STREAMS]._shared
        assert edge is not None
        (before := edge.opening.result()).redacted = -1
        async with open_stream(client, last="0.5") as other:
            assert client.app[STREAMS]._shared is not edge
            assert [m.topic for m in await other.take(1)] == ["/core/channels/1.1"]
            assert before._messages == []
            assert await one.rest() == []
            assert one.error is not None
            assert one.error["code"] == "redacted"


async def test_a_model_that_fails_ends_streams_and_lets_none_begin(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_stream(client) as one:
        await ledger.write(newchannel("1.1"))
        await one.take(1)
        broken = {"fails": True}

        fold_row = Fold._fold_row

        def fail(self: Fold, handler: Any, key: Any, shaped: Any, event: Any) -> None:
            is_of_the_stream = self._on_change is not None  # the projector's fold has no such function
            if is_of_the_stream and self.model is channels.CHANNELS and broken["fails"] and key[1] == "6.6":
                raise ZeroDivisionError
            fold_row(self, handler, key, shaped, event)

        monkeypatch.setattr(Fold, "_fold_row", fail)
        position = await ledger.write(newchannel("6.6"))
        assert await one.rest() == []
        said = f"read model channels at position {position} (Newchannel) cannot be folded"
        assert one.error == {"error": said, "code": "broken"}
    reply = await client.get("/v1/events")
    assert (reply.status, (await reply.json())["message"], reply.headers["Retry-After"]) == (503, said, "1")
    broken["fails"] = False
    async with open_stream(client, last=position - 1) as one:
        assert [m.position for m in await one.take(1)] == [position]


async def test_not_too_many_catch_up_at_once(client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "START_EVENTS", 0)
    monkeypatch.setattr(streams, "MAX_CATCHING_UP", 1)
    monkeypatch.setattr(stream, "STEP", 1)
    first = await ledger.write(newchannel("1.1"))
    await ledger.write(newchannel("1.2"))
    going = asyncio.Event()
    read = Subscription.read

    async def waiting(self: Subscription, pool: Any, upto: int) -> Any:
        if self.position < upto == first + 1:
            await going.wait()
        async for one in read(self, pool, upto):
            yield one

    monkeypatch.setattr(Subscription, "read", waiting)
    async with open_stream(client) as near, open_stream(client, last=first) as far:
        reply = await client.get("/v1/events", headers={"Last-Event-ID": str(first)})
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        assert "too many streams begin far back" in (await reply.json())["message"]
        going.set()
        assert [m.topic for m in await far.take(1)] == ["/core/channels/1.2"]
        async with open_stream(client, last=first) as other:
            await other.take(1)
        assert near.error is None


def message(position: int, number: int = WHOLE_EVENT, size: int = 10) -> Message:
    return Message((position, number), "/core/channels/1/", "pbx", b"x" * size)


class Standing:
    position, redacted = 4, 0


@pytest.mark.parametrize("bound", ["messages", "bytes"])
def test_what_is_kept_is_bounded_and_whole_events_go(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(live, "MAX_MESSAGES", 4 if bound == "messages" else 100)
    monkeypatch.setattr(live, "MAX_BYTES", 1000 if bound == "messages" else 49)
    edge = LiveBuffer(None, Standing(), CATALOG)  # type: ignore[arg-type]
    assert (edge.oldest, edge.covers((4, WHOLE_EVENT)), edge.covers((4, 2)), edge.covers((3, WHOLE_EVENT))) == (
        4,
        True,
        False,
        False,
    )
    edge._put([message(6)])
    edge._put([message(8, 1), message(8, 2), message(8)])
    assert (edge.oldest, edge.position, edge.count) == (4, 8, 4)
    assert [
        edge.after(place)
        for place in ((4, WHOLE_EVENT), (6, WHOLE_EVENT), (7, WHOLE_EVENT), (8, 1), (8, WHOLE_EVENT), (9, 1))
    ] == [
        0,
        1,
        1,
        2,
        4,
        4,
    ]
    assert [m.place for m in edge.since(1).messages] == [(8, 1), (8, 2), (8, WHOLE_EVENT)]
    edge._put([message(9)])
    assert (edge.oldest, edge.covers((6, WHOLE_EVENT)), edge.covers((6, 1))) == (6, True, False)
    with pytest.raises(StreamClosed, match="too slowly"):
        edge.since(0)
    edge._put([message(11)])
    assert (edge.oldest, [m.place[0] for m in edge.since(4).messages]) == (8, [9, 11])
    edge.close(StreamClosed("redacted", "gone", 1012))
    with pytest.raises(StreamClosed, match="gone"):
        edge.since(4)


async def test_those_who_want_the_same_wait_together_and_miss_nothing() -> None:
    edge = LiveBuffer(None, Standing(), CATALOG)  # type: ignore[arg-type]
    core, agents = TopicFilter(("/core/",)), TopicFilter(("/agents/",))
    waiting = [asyncio.create_task(edge.wait(one, 10)) for one in (core, core, agents)]
    await asyncio.sleep(0)
    edge._put([replace(message(5, 1), topic="/queue/queues/q/"), message(5)])
    edge._put([message(6)])
    assert [await one for one in waiting[:2]] == [1, 1]
    assert await edge.wait(agents, 0.0) == 3  # nothing so far, so what comes next is the first that may be wanted
    assert not waiting[2].done()
    edge.wake(agents)
    assert await waiting[2] == 3
    late = asyncio.create_task(edge.wait(core, 10))
    await asyncio.sleep(0)
    edge.close(StreamClosed("stopping", "", 1001))
    assert await late == 3


async def test_who_was_told_more_by_another_process_is_told_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BATCH_MESSAGES", 2)
    edge = LiveBuffer(None, Standing(), CATALOG)  # type: ignore[arg-type]
    one = ClientStream(None, edge, (9, 1), asyncio.Lock(), lambda: None)  # type: ignore[arg-type]
    everything = TopicFilter(("/",))
    assert await one.next_batch(0.0, everything) == Batch([], 4, is_whole=False)
    edge._put([message(8)])
    edge._put([message(9, 1), message(9, 2), message(9)])
    assert await one.next_batch(9.0, everything) == Batch([], 9, is_whole=False)
    assert one.position == 8
    assert await one.next_batch(9.0, everything) == Batch([message(9, 2), message(9)], 9)
    assert one.position == 9
    edge.close(StreamClosed("slow", "", 1013))
    with pytest.raises(StreamClosed):
        await one.next_batch(9.0, everything)
