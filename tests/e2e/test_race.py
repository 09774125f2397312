"""Channels that hang up while the list that names them is being sent must not come back."""

import asyncio

from tests.e2e.asterisk import Asterisk
from tests.e2e.conftest import StartLedger
from tests.e2e.truth import CHANNELS, agree
from tests.e2e.waiting import until

PAIRS = 100
ROUNDS = 3

WITHIN = """
SELECT count(*) FROM event h
WHERE h.name = 'Hangup'
  AND h.position > (SELECT min(position) FROM event WHERE name = 'Response:CoreShowChannels' AND position > $1)
  AND h.position < (SELECT min(position) FROM event WHERE name = 'CoreShowChannelsComplete' AND position > $1)
"""


async def test_channels_that_hang_up_while_they_are_listed_stay_away(
    asterisk: Asterisk, start_ledger: StartLedger
) -> None:
    ledger = await start_ledger(asterisk.host)
    await ledger.snapshot()
    met = 0
    for _ in range(ROUNDS):
        for _ in range(PAIRS):
            await asterisk.ami.act(
                "Originate", Channel="Local/answer@local", Context="local", Exten="answer", Priority="1", Async="true"
            )

        async def all_up() -> bool:
            lines = await asterisk.cli("core show channels concise")
            return sum("!Up!Wait!" in line for line in lines) >= 2 * PAIRS

        await until(all_up, f"{2 * PAIRS} channels are up")
        at = await ledger.caught_up(asterisk)
        # A reload makes the listener ask for everything anew; at that moment everything is told to hang up.
        reload = asyncio.create_task(asterisk.cli("module reload res_musiconhold.so"))
        await ledger.heard("SnapshotStarted", after=at)
        await asterisk.ami.act("Hangup", Channel="/^Local/")
        await reload
        await agree(ledger, asterisk, CHANNELS, when="after the hangups", seconds=10)
        met += (await ledger.rows(WITHIN, at))[0][0]
    assert met, "no hangup fell into a list: this test has shown nothing"
    await ledger.stop()
