"""Calls between two phones: while they ring, talk, hold and end, and what remains of each."""

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.truth import agree


async def test_a_call_rings_is_answered_held_and_ended(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, bob = await asterisk.phone("100"), await asterisk.phone("101")
    call = alice.call("101")
    answering = await bob.rung()
    said = await agree(ledger, asterisk, "ringing")
    assert sorted(row[4] for row in said["channels"].values()) == ["Ring", "Ringing"]
    answering.answer()
    await call.up()
    said = await agree(ledger, asterisk, "talking")
    assert len({row[9] for row in said["channels"].values()}) == 1, "both stand in one bridge"
    await call.hold()
    await agree(ledger, asterisk, "on hold")
    await call.hold(on=False)
    await agree(ledger, asterisk, "off hold")
    await answering.hang_up()
    await call.over()
    said = await agree(ledger, asterisk, "ended")
    assert said["channels"] == {}
