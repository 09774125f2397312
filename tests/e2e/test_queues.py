"""Queues: callers who are served, who give up, who are turned away; members who come, pause and go."""

from services.replay.history import HistoryQuery, query_history
from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.stories import wait_callers
from tests.e2e.truth import QUEUE_ENTRIES, QUEUES, agree
from tests.support.polling import eventually

LAST_JOIN = "SELECT max(position) AS at FROM event WHERE name = 'QueueCallerJoin'"
SALES = ("100", "101", "102")


async def test_a_caller_is_served_by_one_of_three(ledger: Ledger, asterisk: Asterisk) -> None:
    members = [await asterisk.phone(user) for user in SALES]
    before = await agree(ledger, asterisk, "nobody calls")
    assert {row[7] for key, row in before["queue_members"].items() if key.startswith("sales ")} == {1}
    caller = await asterisk.phone("105")
    call = caller.call("200")
    ringing = [await member.rung() for member in members[:2]]  # the third has a penalty
    tables = await agree(ledger, asterisk, "two members ring")
    assert len(tables["queue_entries"]) == 1
    ringing[1].answer()
    assert await ringing[0].over() == 487
    tables = await agree(ledger, asterisk, "served")
    assert tables["queue_entries"] == {}
    assert tables["queue_members"]["sales PJSIP/101"][4] == 1, "in call"
    await call.hang_up()
    await ringing[1].over()
    tables = await agree(ledger, asterisk, "ended")
    assert tables["queues"]["sales"][6] == before["queues"]["sales"][6] + 1
    assert tables["queue_members"]["sales PJSIP/101"][8] == before["queue_members"]["sales PJSIP/101"][8] + 1


async def test_callers_wait_in_line_and_give_up(ledger: Ledger, asterisk: Asterisk) -> None:
    phones = [await asterisk.phone(user) for user in ("105", "106", "107")]
    before = (await agree(ledger, asterisk, "nobody waits"))["queues"]["empty"][7]
    calls = []
    for number, phone in enumerate(phones, 1):
        calls.append(await phone.call("204").up())
        await wait_callers(asterisk, number)
    for number, call in enumerate(calls, 1):
        tables = await agree(ledger, asterisk, f"{4 - number} wait")
        assert sorted(position for (position,) in tables["queue_entries"].values()) == list(range(1, 5 - number))
        await call.hang_up()
    tables = await agree(ledger, asterisk, "all gave up")
    assert tables["queue_entries"] == {}
    assert tables["queues"]["empty"][7] == before + 3


async def test_a_full_queue_refuses_callers(ledger: Ledger, asterisk: Asterisk) -> None:
    phones = [await asterisk.phone(user) for user in ("105", "106", "107", "108")]
    for phone in phones[:3]:
        await phone.call("204").up()
    await wait_callers(asterisk, 3)
    await (await phones[3].call("204").up()).over()
    tables = await agree(ledger, asterisk, "the fourth was turned away")
    assert len(tables["queue_entries"]) == 3


async def test_a_caller_waits_in_vain(ledger: Ledger, asterisk: Asterisk) -> None:
    phone = await asterisk.phone("105")
    before = (await agree(ledger, asterisk, "nobody waits"))["queues"]["empty"][7]
    call = await phone.call("203").up()
    await call.over()
    tables = await agree(ledger, asterisk, "after two seconds")
    assert tables["queue_entries"] == {}
    (join,) = await ledger.rows(LAST_JOIN)
    # Two seconds are too short to compare both sides within them on a busy machine: the log shows that moment again.
    (waiting,) = await query_history(ledger.url, HistoryQuery((str(join["at"]),), "queue_entries"))
    assert [(entry.queue_name, entry.position) for entry in waiting.rows] == [("empty", 1)]
    assert tables["queues"]["empty"][7] == before + 1, "Asterisk counts a timeout among the abandoned"


async def test_members_come_pause_and_go(ledger: Ledger, asterisk: Asterisk) -> None:
    act = asterisk.ami.act
    await asterisk.phone("107")
    await act("QueueAdd", Queue="support", Interface="PJSIP/107", MemberName="Hugo Hall", Penalty="1")
    await act("QueueAdd", Queue="support", Interface="PJSIP/108", MemberName="Ivy Ito", StateInterface="PJSIP/107")
    tables = await agree(ledger, asterisk, "two came")
    assert tables["queue_members"]["support PJSIP/107"][3] == "dynamic"
    await act("QueuePause", Queue="support", Interface="PJSIP/107", Paused="true", Reason='lunch, "long"; x=1')
    await act("QueuePause", Interface="PJSIP/100", Paused="true")
    tables = await agree(ledger, asterisk, "paused")
    assert tables["queue_members"]["support PJSIP/107"][5:7] == (1, 'lunch, "long"; x=1')
    await act("QueuePause", Interface="PJSIP/100", Paused="false")
    await act("QueuePause", Queue="support", Interface="PJSIP/107", Paused="false", Reason="back")
    await act("QueuePenalty", Queue="support", Interface="PJSIP/107", Penalty="3")
    await agree(ledger, asterisk, "back, with another penalty")
    await act("QueueRemove", Queue="support", Interface="PJSIP/107")
    await act("QueueRemove", Queue="support", Interface="PJSIP/108")
    tables = await agree(ledger, asterisk, "gone")
    assert not [key for key in tables["queue_members"] if key.startswith("support ")]


async def test_an_absent_member_is_paused(ledger: Ledger, asterisk: Asterisk) -> None:
    act = asterisk.ami.act
    member, caller = await asterisk.phone("107"), await asterisk.phone("105")
    await act("QueueAdd", Queue="support", Interface="PJSIP/107", MemberName="Hugo Hall")
    call = caller.call("201")
    ringing = await member.rung()
    await agree(ledger, asterisk, "ringing", (QUEUES, QUEUE_ENTRIES))
    assert await ringing.over() == 487

    async def paused() -> bool:
        lines = await asterisk.cli("queue show support")
        return any("(paused:Auto-Pause" in line for line in lines)

    await eventually(paused, "the member is paused")
    await agree(ledger, asterisk, "paused by itself, the caller still waits")
    await act("QueuePause", Interface="PJSIP/107", Paused="false")
    (await member.rung()).answer()
    await agree(ledger, asterisk, "served at last")
    await call.hang_up()
    await act("QueueRemove", Queue="support", Interface="PJSIP/107")
    await agree(ledger, asterisk, "ended")


async def test_a_snapshot_heals_changes_without_events(ledger: Ledger, asterisk: Asterisk) -> None:
    caller = await asterisk.phone("105")
    call = await caller.call("204").up()
    await wait_callers(asterisk, 1)
    await call.hang_up()
    await agree(ledger, asterisk, "one gave up")
    await asterisk.cli("queue reset stats empty")  # sends no event
    await asterisk.cli("module reload res_musiconhold.so")  # sends Reload, after which Ringledger requests all lists
    tables = await agree(ledger, asterisk, "after the next snapshot", seconds=60)
    assert tables["queues"]["empty"][7] == 0
