"""Events out: at the end of a real call, a stream's client has the state that the views serve."""

import pytest

from api.stream import sse
from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.truth import agree
from tests.support.jade_views import TICKING
from tests.support.stream_client import EventStream, ResourceMirror, StreamMessage, open_stream

CHANNELS = "/v1/admin/core/channels"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a quiet stream say how far it is without delay."""
    monkeypatch.setattr(sse, "RECHECK_SECONDS", 0.05)
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.05)


async def upto(stream: EventStream, position: int) -> list[StreamMessage]:
    """Return all messages until the stream reaches the position or passes it, since the log grows."""
    return [message async for message in stream.upto(position)]


async def read_until(ledger: Ledger, last: int, until: int) -> list[StreamMessage]:
    """Return the messages of channels from one position to another."""
    async with open_stream(ledger.client, "/core/channels", last=last) as stream:
        return await upto(stream, until)


async def test_a_call_is_streamed_live_and_later(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, bob = await asterisk.phone("100"), await asterisk.phone("101")
    begin = await ledger.caught_up(asterisk)
    assert await ledger.served(CHANNELS) == []
    async with open_stream(ledger.client, "/core/channels", last=begin) as stream:
        call = alice.call("101")
        (ringing, *_) = await stream.take(1)
        (await bob.rung()).answer()
        await call.up()
        await agree(ledger, asterisk, "talking")
        talking = await ledger.caught_up(asterisk)
        live = [ringing, *await upto(stream, talking)]
        mirror = ResourceMirror()
        for message in live:
            mirror.take(message)
        served = await ledger.served(CHANNELS)
        assert (
            {item["unique_id"] for item in served} == {item["unique_id"] for item in mirror.of("core.channel")} != set()
        )
        by_id = {item["unique_id"]: item for item in mirror.of("core.channel")}
        for item in served:
            resource = by_id[item["unique_id"]]
            assert {n: v for n, v in resource.items() if n not in TICKING} == {
                n: v for n, v in item.items() if n not in TICKING
            }
        await call.hang_up()
        await agree(ledger, asterisk, "ended")
        ended = await ledger.caught_up(asterisk)
        rest = await upto(stream, ended)
    assert sorted(m.what for m in rest if m.what.endswith("delete")) == ["core.channel.delete"] * len(served)
    everything = await read_until(ledger, begin, ended)
    assert [(m.id, m.what) for m in everything] == [(m.id, m.what) for m in [*live, *rest]]
    cut = live[len(live) // 2]
    later = await read_until(ledger, cut.position, ended)
    assert later == [m for m in everything if m.position > cut.position]
