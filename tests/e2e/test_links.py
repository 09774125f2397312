"""The link to Asterisk goes and comes back: then the views equal Asterisk's again (in 5 s on an idle machine)."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from asyncpg import Record

from tests.e2e.asterisk import Asterisk
from tests.e2e.conftest import StartLedger
from tests.e2e.ledger import Ledger
from tests.e2e.link import Link
from tests.e2e.truth import agree
from tests.support.polling import eventually

HANGS = 45.0
"""Less than a minute, after which the next lists would heal what this link's lists had missed."""


async def complete(ledger: Ledger) -> str:
    """Return the completeness that a view reports: ``false`` inside and after an unhealed gap."""
    async with ledger.client.get("/v1/admin/core/channels") as reply:
        return reply.headers["X-Ledger-Complete"]


async def the_gap(ledger: Ledger, reason: str, start: datetime, returned: datetime) -> None:
    """Fail unless the gap is recorded, with its ends, and healed.

    It may be in pieces: an Asterisk that starts may let us in and throw us out again.
    """

    async def closed() -> list[Record]:
        gaps = await ledger.rows("SELECT * FROM gaps ORDER BY from_position")
        return gaps if all(gap["healed_time"] for gap in gaps) else []

    gaps = await eventually(closed, "the gap is recorded and healed")
    assert reason in gaps[0]["reason"]
    # The last event arrived before the link failed; AMI is never silent longer than a Ping.
    assert start - timedelta(seconds=6) < gaps[0]["from_time"] < returned
    for gap in gaps:
        assert gap["from_time"] < gap["until_time"] <= gap["healed_time"]
    assert await complete(ledger) == "true"


@pytest.mark.parametrize("account", ["ringledger", "monitor"])
async def test_a_start_in_the_middle_lists_calls(asterisk: Asterisk, start_ledger: StartLedger, account: str) -> None:
    phones = {user: await asterisk.phone(user) for user in ("100", "101", "102", "103", "104", "105")}
    talking, on_hold = phones["100"].call("101"), phones["102"].call("103")
    for user in ("101", "103"):
        (await phones[user].rung()).answer()
    await talking.up()
    await (await on_hold.up()).hold()
    phones["104"].call("105")
    await phones["105"].rung()
    ledger = await start_ledger(asterisk.host, user=account)
    await agree(ledger, asterisk, "started in the middle of three calls", seconds=HANGS)
    await talking.hang_up()
    await agree(ledger, asterisk, "after one of them ended")
    await ledger.stop()


async def test_a_cut_without_fin(asterisk: Asterisk, link: Link, start_ledger: StartLedger) -> None:
    ledger = await start_ledger("127.0.0.1", link.port)
    await ledger.snapshot()
    phones = {user: await asterisk.phone(user) for user in ("100", "101", "102", "103")}
    old = phones["100"].call("101")
    (await phones["101"].rung()).answer()
    await old.up()
    await agree(ledger, asterisk, "before the cut")
    assert await complete(ledger) == "true"
    link.cut()
    start = datetime.now(UTC)
    await old.hang_up()
    new = phones["102"].call("103")
    (await phones["103"].rung()).answer()
    await new.up()
    gone = await ledger.own_event("Disconnected", "Pong")
    await eventually(lambda: ledger.folded(gone), "the models know")
    assert await complete(ledger) == "false"
    link.mend()
    returned = datetime.now(UTC)
    await agree(ledger, asterisk, "after the cut", seconds=HANGS)
    await the_gap(ledger, "Pong", start, returned)
    await ledger.stop()


async def test_asterisk_restarts(asterisk: Asterisk, link: Link, start_ledger: StartLedger) -> None:
    ledger = await start_ledger("127.0.0.1", link.port)
    await ledger.snapshot()
    alice, bob = await asterisk.phone("100"), await asterisk.phone("101")
    call = alice.call("101")
    (await bob.rung()).answer()
    await call.up()
    await agree(ledger, asterisk, "before the restart")
    asterisk.ami.close()
    start = datetime.now(UTC)
    await asterisk.shell("asterisk", "-rx", "core restart now")
    await ledger.own_event("Disconnected")
    await asterisk.log_in()
    returned = datetime.now(UTC)
    await agree(ledger, asterisk, "after the restart", seconds=HANGS)
    await the_gap(ledger, "closed", start, returned)
    await ledger.stop()


async def test_asterisk_is_killed(asterisk: Asterisk, link: Link, start_ledger: StartLedger) -> None:
    ledger = await start_ledger("127.0.0.1", link.port)
    await ledger.snapshot()
    alice, bob = await asterisk.phone("100"), await asterisk.phone("101")
    call = alice.call("101")
    (await bob.rung()).answer()
    await call.up()
    await agree(ledger, asterisk, "before the kill")
    asterisk.ami.close()
    start = datetime.now(UTC)
    container = asterisk.container.get_wrapped_container()
    await asyncio.to_thread(container.kill)
    await asyncio.to_thread(container.start)
    await ledger.own_event("Disconnected")
    await asterisk.reach()
    returned = datetime.now(UTC)
    await agree(ledger, asterisk, "after the kill", seconds=HANGS)
    await the_gap(ledger, "closed", start, returned)
    await ledger.stop()
