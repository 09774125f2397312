"""Steps that several stories with phones share."""

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.phone import Call
from tests.e2e.truth import AGENTS, CHANNELS, PARKED_CALLS, QUEUE_ENTRIES, agree
from tests.support.polling import eventually


async def connect_phones(asterisk: Asterisk, caller: str, called: str) -> tuple[Call, Call]:
    """Let one phone call another and the other answer; return both ends, which are in one bridge."""
    phone, other = await asterisk.phone(caller), await asterisk.phone(called)
    call = phone.call(called)
    answering = await other.rung()
    answering.answer()
    await call.up()

    async def bridged() -> bool:
        rows = (await CHANNELS.asterisk(asterisk)).values()
        bridges = [row[9] for row in rows if row[0].startswith((f"PJSIP/{caller}-", f"PJSIP/{called}-"))]
        return any(bridge and bridges.count(bridge) == 2 for bridge in bridges)

    await eventually(bridged, f"{caller} and {called} are in one bridge")
    return call, answering


async def wait_agent_state(asterisk: Asterisk, agent: str, expected: str) -> None:
    async def there() -> bool:
        return bool((await AGENTS.asterisk(asterisk))[agent][1] == expected)

    await eventually(there, f"agent {agent} is {expected}")


RELOAD_SECONDS = 6.0
"""Seconds: after a reload Ringledger waits one for those that follow, then asks for every list."""


async def wait_parked(asterisk: Asterisk, number: int) -> None:
    async def there() -> bool:
        return len(await PARKED_CALLS.asterisk(asterisk)) == number

    await eventually(there, f"{number} calls are parked")


async def park_call(ledger: Ledger, asterisk: Asterisk, lot: str) -> tuple[Call, str]:
    """Let 101, called by 100, park the call; return the caller's end and the space."""
    alice, bob = await connect_phones(asterisk, "100", "101")
    assert await bob.refer(lot) == 202
    await wait_parked(asterisk, 1)
    await bob.hang_up()
    tables = await agree(ledger, asterisk, "parked")
    (place,) = tables["parked_calls"]
    assert tables["parked_calls"][place][0].startswith("PJSIP/100-")
    return alice, place.split()[1]


async def wait_callers(asterisk: Asterisk, number: int) -> None:
    async def there() -> bool:
        return len(await QUEUE_ENTRIES.asterisk(asterisk)) == number

    await eventually(there, f"{number} callers wait")


async def second_leg(asterisk: Asterisk, extension: str) -> tuple[Call, Call, Call]:
    """Let 106, called by 105, call an extension too; return the caller and both legs."""
    caller, leg = await connect_phones(asterisk, "105", "106")
    return caller, leg, await asterisk.phones["106"].call(extension).up()


async def transfer(leg: Call, second: Call) -> None:
    assert await leg.refer("replaced", second) == 202
    await second.over()
