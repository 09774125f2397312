"""Call records equal Master.csv, row by row, and statistics are sums of them."""

from tests.e2e.asterisk import Asterisk
from tests.e2e.conftest import StartLedger
from tests.e2e.master import STATISTICS, counted, records_agree, written
from tests.e2e.stories import connect_phones


async def test_records_and_statistics_of_calls_of_every_kind(asterisk: Asterisk, start_ledger: StartLedger) -> None:
    before = len(await written(asterisk))
    ledger = await start_ledger(asterisk.host)
    await ledger.snapshot()
    alice, bob, carol = [await asterisk.phone(user) for user in ("100", "101", "102")]

    call, _ = await connect_phones(asterisk, "100", "101")
    await call.hang_up()
    await (await alice.call("503").up()).over()  # two seconds of talk

    busy = alice.call("101")
    (await bob.rung()).refuse()
    await busy.over()
    unanswered = alice.call("301")
    await (await bob.rung()).over()
    await unanswered.over()
    given_up = alice.call("101")
    ringing = await bob.rung()
    await given_up.ringing.wait()
    await given_up.hang_up()
    await ringing.over()
    await alice.call("501").over()  # congestion
    await alice.call("534").over()
    await alice.call("109").over()  # a phone that is not registered

    _, transferring = await connect_phones(asterisk, "100", "101")
    await transferring.refer("102")
    await transferring.transferred_up()
    await transferring.hang_up()
    (await carol.rung()).answer()
    await asterisk.quiet()

    for user in ("100", "101"):
        await asterisk.phone(user)
    queued = (await asterisk.phone("105")).call("200")
    rings = [await asterisk.phones[user].rung() for user in ("100", "101")]
    rings[0].answer()
    await rings[1].over()
    await queued.hang_up()
    await asterisk.quiet()

    records = await records_agree(ledger, asterisk, before, 11)
    assert max(record[13] for record in records if isinstance(record[13], int)) >= 2
    assert {"ANSWERED", "NO ANSWER", "BUSY"} <= {record[14] for record in records}
    day = str(records[-1][9])[:10]
    ours = {row["who"]: list(row)[1:] for row in await ledger.rows(STATISTICS, day)}
    assert ours == counted(records, day)
    async with ledger.client.get(f"/api/statistics/{day}") as reply:
        total = (await reply.json())["result"]["total"]
    members = ("calls", "answered", "no_answer", "busy", "failed", "congestion", "talk_seconds", "longest_seconds")
    assert [total[member] for member in members] == ours["pbx pbx"]
    await ledger.stop()
