"""Calls between phones: while they ring, talk, hold and end; those that come to nothing; transfers."""

import pytest

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.stories import connect_phones
from tests.e2e.truth import CALLS, CHANNELS, agree
from tests.support.polling import eventually

# manager_channels.c sends Newexten when place or application change, not for other data: a channel that is transferred
# from one Dial to another has the first one's until the next snapshot.
DATA = ("channels.data",)


async def test_a_call_rings_is_answered_held_and_ended(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, bob = await asterisk.phone("100"), await asterisk.phone("101")
    call = alice.call("101")
    answering = await bob.rung()
    tables = await agree(ledger, asterisk, "ringing")
    assert sorted(row[4] for row in tables["channels"].values()) == ["Ring", "Ringing"]
    answering.answer()
    await call.up()
    tables = await agree(ledger, asterisk, "talking")
    assert len({row[9] for row in tables["channels"].values()}) == 1, "both stand in one bridge"
    await call.hold()
    tables = await agree(ledger, asterisk, "on hold")
    assert tables["device_states"]["PJSIP/100"] == ("ONHOLD",) or tables["device_states"]["PJSIP/101"] == ("ONHOLD",)
    await call.hold(on=False)
    await agree(ledger, asterisk, "off hold")
    await answering.hang_up()
    await call.over()
    tables = await agree(ledger, asterisk, "ended")
    assert tables["channels"] == {}


@pytest.mark.parametrize(
    ("extension", "status"),
    [("500", 486), ("501", 503), ("517", 486), ("534", 503), ("999", 404), ("109", 404)],
    ids=["busy", "congestion", "cause-17", "cause-34", "no-such-extension", "phone-not-registered"],
)
async def test_a_call_that_asterisk_refuses(ledger: Ledger, asterisk: Asterisk, extension: str, status: int) -> None:
    call = (await asterisk.phone("100")).call(extension)
    assert await call.over() == status
    assert (await agree(ledger, asterisk, f"{extension} was refused"))["channels"] == {}


async def test_the_called_phone_is_busy(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, bob = await asterisk.phone("100"), await asterisk.phone("101")
    call = alice.call("101")
    (await bob.rung()).refuse()
    assert await call.over() == 486
    await agree(ledger, asterisk, "after busy")


async def test_an_unanswered_call_ends(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, bob = await asterisk.phone("100"), await asterisk.phone("101")
    call = alice.call("301")
    ringing = await bob.rung()
    await agree(ledger, asterisk, "ringing", CALLS)
    assert await ringing.over() == 487
    await call.over()
    await agree(ledger, asterisk, "after two seconds")


async def test_the_caller_gives_up(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, bob = await asterisk.phone("100"), await asterisk.phone("101")
    call = alice.call("101")
    ringing = await bob.rung()
    await call.ringing.wait()
    await call.hang_up()
    assert await ringing.over() == 487
    await agree(ledger, asterisk, "after giving up")


async def test_blind_transfer(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, bob = await connect_phones(asterisk, "100", "101")
    carol = await asterisk.phone("102")
    assert await bob.refer("102") == 202
    await bob.transferred_up()
    await bob.hang_up()
    ringing = await carol.rung()
    tables = await agree(ledger, asterisk, "the transferred call rings", untold=DATA)
    assert {row[0].split("-")[0] for row in tables["channels"].values()} == {"PJSIP/100", "PJSIP/102"}
    ringing.answer()
    await agree(ledger, asterisk, "transferred", untold=DATA)
    await ringing.hang_up()
    await alice.over()
    await agree(ledger, asterisk, "ended")


async def test_attended_transfer(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, bob = await connect_phones(asterisk, "100", "101")
    await bob.hold()
    carol = await asterisk.phone("102")
    asking = (await asterisk.phone("101")).call("102")
    ringing = await carol.rung()
    ringing.answer()
    await asking.up()
    tables = await agree(ledger, asterisk, "asking, the first call on hold")
    assert len(tables["channels"]) == 4
    assert await bob.refer("102", replaces=asking) == 202
    await bob.transferred_up()
    await bob.hang_up()
    await asking.hang_up()
    tables = await agree(ledger, asterisk, "transferred")
    assert {row[0].split("-")[0] for row in tables["channels"].values()} == {"PJSIP/100", "PJSIP/102"}
    assert len({row[9] for row in tables["channels"].values()}) == 1, "both stand in one bridge"
    await alice.hang_up()
    await ringing.over()
    await agree(ledger, asterisk, "ended")


async def test_transfers_by_keys(ledger: Ledger, asterisk: Asterisk) -> None:
    """DTMF: *2 asks first (Asterisk makes Local channels for it), #1 does not."""
    alice, bob = await connect_phones(asterisk, "100", "101")
    carol = await asterisk.phone("102")
    await alice.press("*2102")
    ringing = await carol.rung()
    await agree(ledger, asterisk, "asking")
    ringing.answer()

    async def asking() -> bool:
        rows = (await CHANNELS.asterisk(asterisk)).values()
        return all(row[9] for row in rows) and len({row[9] for row in rows}) == 3

    # Before that Asterisk 22.10.1 may crash on the hangup (bridge_basic.c, "blond_nonfinal_enter").
    await eventually(asking, "the transferee, the transferer and the target are in bridges")
    await agree(ledger, asterisk, "the third has answered")
    await alice.hang_up()
    tables = await agree(ledger, asterisk, "transferred")
    ends = {row[0].split("-")[0] for row in tables["channels"].values()}
    assert ends - {"Local/102@internal"} == {"PJSIP/101", "PJSIP/102"}
    await bob.hang_up()
    await ringing.over()
    await agree(ledger, asterisk, "ended")
