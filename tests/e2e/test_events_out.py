"""Events out: who listens while a real call is made knows at its end what the views serve, and has heard why."""

import pytest

from api.events import sse
from tests.api.listening import Kept, Listening, Told, listening
from tests.api.test_contract import TICKING
from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.truth import agree

CHANNELS = "/v1/admin/core/channels"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a quiet stream say how far it is without delay."""
    monkeypatch.setattr(sse, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", 0.05)


async def upto(stream: Listening, position: int) -> list[Told]:
    """Return all that is told until the stream has come to a position, or beyond it, for the log grows on."""
    return [message async for message in stream.upto(position)]


async def heard(ledger: Ledger, last: int, until: int) -> list[Told]:
    """Return what is told of channels from one position to another."""
    async with listening(ledger.client, "/core/channels", last=last) as stream:
        return await upto(stream, until)


async def test_a_call_is_told_as_it_happens_and_again_to_who_comes_later(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, bob = await asterisk.phone("100"), await asterisk.phone("101")
    begin = await ledger.caught_up(asterisk)
    assert await ledger.served(CHANNELS) == []
    async with listening(ledger.client, "/core/channels", last=begin) as stream:
        call = alice.call("101")
        (ringing, *_) = await stream.take(1)
        (await bob.rung()).answer()
        await call.up()
        await agree(ledger, asterisk, "talking")
        talking = await ledger.caught_up(asterisk)
        live = [ringing, *await upto(stream, talking)]
        kept = Kept()
        for message in live:
            kept.take(message)
        served = await ledger.served(CHANNELS)
        assert (
            {item["unique_id"] for item in served} == {item["unique_id"] for item in kept.of("core.channel")} != set()
        )
        by_id = {item["unique_id"]: item for item in kept.of("core.channel")}
        for item in served:
            told = by_id[item["unique_id"]]
            assert {n: v for n, v in told.items() if n not in TICKING} == {
                n: v for n, v in item.items() if n not in TICKING
            }
        await call.hang_up()
        await agree(ledger, asterisk, "ended")
        ended = await ledger.caught_up(asterisk)
        rest = await upto(stream, ended)
    assert sorted(m.what for m in rest if m.what.endswith("delete")) == ["core.channel.delete"] * len(served)
    everything = await heard(ledger, begin, ended)
    assert [(m.id, m.what) for m in everything] == [(m.id, m.what) for m in [*live, *rest]]
    cut = live[len(live) // 2]
    later = await heard(ledger, cut.position, ended)
    assert later == [m for m in everything if m.position > cut.position]
