"""Parking: parked, fetched, given up, forgotten."""

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.stories import connect_phones, park_call, wait_parked
from tests.e2e.truth import agree
from tests.support.polling import eventually

TIMED_OUT = "SELECT position FROM ledger.event WHERE name = 'ParkedCallTimeOut' AND position > $1"


async def test_a_parked_call_is_fetched(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, space = await park_call(ledger, asterisk, "700")
    carol = await asterisk.phone("102")
    fetching = await carol.call(space).up()
    await wait_parked(asterisk, 0)
    tables = await agree(ledger, asterisk, "fetched")
    assert tables["parked_calls"] == {}
    await fetching.hang_up()
    await alice.over()
    await agree(ledger, asterisk, "ended")


async def test_a_parked_caller_gives_up(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, _ = await park_call(ledger, asterisk, "700")
    await alice.hang_up()
    assert (await agree(ledger, asterisk, "gave up"))["parked_calls"] == {}


async def test_two_calls_are_parked_at_once(ledger: Ledger, asterisk: Asterisk) -> None:
    phones = [await asterisk.phone(user) for user in ("103", "104")]
    calls = [await phone.call(lot).up() for phone, lot in zip(phones, ("700", "750"), strict=True)]
    await wait_parked(asterisk, 2)
    tables = await agree(ledger, asterisk, "both in their lots")
    assert {place.split()[0] for place in tables["parked_calls"]} == {"default", "vip"}
    for call in calls:
        await call.hang_up()
    await agree(ledger, asterisk, "ended")


async def test_a_forgotten_call_comes_back(ledger: Ledger, asterisk: Asterisk) -> None:
    before = await ledger.caught_up(asterisk)
    alice, bob = await connect_phones(asterisk, "100", "101")
    assert await bob.refer("770") == 202

    async def is_back() -> bool:
        await ledger.caught_up(asterisk)
        return len(await ledger.rows(TIMED_OUT, before)) == 1

    await eventually(is_back, "the lot's two seconds are over")
    await bob.hang_up()
    tables = await agree(ledger, asterisk, "came back")
    assert [row[1] for row in tables["channels"].values()] == ["parkreturn"]
    await alice.hang_up()
    await agree(ledger, asterisk, "ended")
