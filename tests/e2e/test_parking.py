"""Parking: parked, fetched, given up, forgotten."""

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.phone import Call
from tests.e2e.test_calls import connected
from tests.e2e.truth import PARKED_CALLS, agree
from tests.support.polling import eventually

TIMED_OUT = "SELECT position FROM ledger.event WHERE name = 'ParkedCallTimeOut' AND position > $1"


async def count(asterisk: Asterisk, number: int) -> None:
    async def there() -> bool:
        return len(await PARKED_CALLS.asterisk(asterisk)) == number

    await eventually(there, f"{number} calls are parked")


async def parked(ledger: Ledger, asterisk: Asterisk, lot: str) -> tuple[Call, str]:
    """Let 101, called by 100, park the call; return the caller's end and the space."""
    alice, bob = await connected(asterisk, "100", "101")
    assert await bob.refer(lot) == 202
    await count(asterisk, 1)
    await bob.hang_up()
    tables = await agree(ledger, asterisk, "parked")
    (place,) = tables["parked_calls"]
    assert tables["parked_calls"][place][0].startswith("PJSIP/100-")
    return alice, place.split()[1]


async def test_a_parked_call_is_fetched(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, space = await parked(ledger, asterisk, "700")
    carol = await asterisk.phone("102")
    fetching = await carol.call(space).up()
    await count(asterisk, 0)
    tables = await agree(ledger, asterisk, "fetched")
    assert tables["parked_calls"] == {}
    await fetching.hang_up()
    await alice.over()
    await agree(ledger, asterisk, "ended")


async def test_a_parked_caller_gives_up(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, _ = await parked(ledger, asterisk, "700")
    await alice.hang_up()
    assert (await agree(ledger, asterisk, "gave up"))["parked_calls"] == {}


async def test_two_calls_are_parked_at_once(ledger: Ledger, asterisk: Asterisk) -> None:
    phones = [await asterisk.phone(user) for user in ("103", "104")]
    calls = [await phone.call(lot).up() for phone, lot in zip(phones, ("700", "750"), strict=True)]
    await count(asterisk, 2)
    tables = await agree(ledger, asterisk, "both in their lots")
    assert {place.split()[0] for place in tables["parked_calls"]} == {"default", "vip"}
    for call in calls:
        await call.hang_up()
    await agree(ledger, asterisk, "ended")


async def test_a_forgotten_call_comes_back(ledger: Ledger, asterisk: Asterisk) -> None:
    before = await ledger.caught_up(asterisk)
    alice, bob = await connected(asterisk, "100", "101")
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
