"""Channels that take another one's place while it waits, is parked, is logged in or talks: each view follows."""

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.stories import second_leg, transfer, wait_agent_state, wait_callers, wait_parked
from tests.e2e.truth import CHANNELS, QUEUE_ENTRIES, QUEUE_MEMBERS, QUEUES, agree
from tests.support.polling import eventually


async def test_a_transferred_caller_waits_and_abandons(ledger: Ledger, asterisk: Asterisk) -> None:
    before = (await agree(ledger, asterisk, "an empty queue"))["queues"]["empty"][7]
    caller, leg, second = await second_leg(asterisk, "204")
    await wait_callers(asterisk, 1)
    (entry,) = (await agree(ledger, asterisk, "the leg waits"))["queue_entries"]
    assert entry.startswith("empty PJSIP/106-")
    await transfer(leg, second)
    (entry,) = (await agree(ledger, asterisk, "the caller waits"))["queue_entries"]
    assert entry.startswith("empty PJSIP/105-")
    await caller.hang_up()
    rows = await agree(ledger, asterisk, "the caller gave up")
    assert rows["queue_entries"] == {}
    assert rows["queues"]["empty"][7] == before + 1


async def test_a_waiting_caller_bridged_elsewhere_leaves_the_queue(ledger: Ledger, asterisk: Asterisk) -> None:
    before = (await agree(ledger, asterisk, "an empty queue"))["queues"]["empty"][7]
    await (await asterisk.phone("105")).call("204").up()
    await wait_callers(asterisk, 1)
    await (await asterisk.phone("106")).call("506").up()
    names = [row[0] for row in (await CHANNELS.asterisk(asterisk)).values()]
    await asterisk.ami.act("Bridge", Channel1=names[0], Channel2=names[1])
    await wait_callers(asterisk, 0)
    rows = await agree(ledger, asterisk, "bridged", (QUEUES, QUEUE_ENTRIES))
    assert rows["queue_entries"] == {}
    assert rows["queues"]["empty"][7] == before + 1


async def test_an_agent_follows_the_replacing_channel(ledger: Ledger, asterisk: Asterisk) -> None:
    caller, leg, second = await second_leg(asterisk, "221001")
    await wait_agent_state(asterisk, "1001", "NOT_INUSE")
    await agree(ledger, asterisk, "logged in on the leg")
    await transfer(leg, second)
    rows = await agree(ledger, asterisk, "logged in on the caller's channel")
    assert rows["agents"]["1001"][2].startswith("PJSIP/105-")
    await caller.hang_up()
    await wait_agent_state(asterisk, "1001", "UNAVAILABLE")
    await agree(ledger, asterisk, "logged out")


async def test_a_replacing_channel_takes_the_parking_space(ledger: Ledger, asterisk: Asterisk) -> None:
    caller, leg, second = await second_leg(asterisk, "700")
    await wait_parked(asterisk, 1)
    await transfer(leg, second)
    rows = await agree(ledger, asterisk, "the caller is parked")
    ((channel, _),) = rows["parked_calls"].values()
    assert channel.startswith("PJSIP/105-")
    await caller.hang_up()
    assert (await agree(ledger, asterisk, "the caller gave up"))["parked_calls"] == {}


async def test_an_optimised_queue_call_counts_once(ledger: Ledger, asterisk: Asterisk) -> None:
    """The caller is Local/201@internal, the member Local/107@internal: both give their places to phones."""
    act = asterisk.ami.act
    member, caller = await asterisk.phone("107"), await asterisk.phone("105")
    hugo = {"MemberName": "Hugo Hall", "StateInterface": "PJSIP/107"}
    await act("QueueAdd", Queue="support", Interface="Local/107@internal", **hugo)
    before = (await agree(ledger, asterisk, "an empty queue", (QUEUES,)))["queues"]["support"][6]
    await act("Originate", Channel="Local/201@internal", Context="internal", Exten="105", Priority="1", Async="true")
    calling = await caller.rung()
    calling.answer()
    answered = await member.rung()
    answered.answer()

    async def optimised() -> bool:
        for call in (calling, answered):
            call.speak()  # Asterisk optimises when a frame passes
        names = [row[0] for row in (await CHANNELS.asterisk(asterisk)).values()]
        return len(names) == 2 and all(name.startswith("PJSIP/") for name in names)

    await eventually(optimised, "two phones are left")
    rows = await agree(ledger, asterisk, "served", (QUEUES, QUEUE_MEMBERS, QUEUE_ENTRIES))
    assert rows["queue_members"]["support Local/107@internal"][4] == 1, "in call"
    await answered.hang_up()
    rows = await agree(ledger, asterisk, "ended", (QUEUES, QUEUE_MEMBERS, QUEUE_ENTRIES))
    assert rows["queues"]["support"][6] == before + 1
    assert rows["queue_members"]["support Local/107@internal"][4] == 0
    await calling.over()
    await agree(ledger, asterisk, "no channel is left")
    legs = await ledger.rows("SELECT agent FROM call_records WHERE queue = 'support' AND channel LIKE 'Local/201@%'")
    assert {row["agent"] for row in legs} == {"Local/107@internal"}
    await act("QueueRemove", Queue="support", Interface="Local/107@internal")
