"""Channels that hang up while the list that names them is being sent must not come back."""

import asyncio

from tests.e2e.asterisk import Asterisk
from tests.e2e.conftest import StartLedger
from tests.e2e.truth import CHANNELS, agree
from tests.support.polling import eventually

PAIRS = 150
ROUNDS = 4

LISTS = "SELECT count(*) FROM event WHERE name = 'CoreShowChannelsComplete' AND position > $1"
RACED = """
WITH list AS (
    SELECT s.position AS first, s.recorded AS began, e.position AS last, e.recorded AS ended
    FROM event s CROSS JOIN LATERAL (
        SELECT position, recorded FROM event
        WHERE name = 'CoreShowChannelsComplete' AND position > s.position ORDER BY position LIMIT 1
    ) e WHERE s.name = 'SnapshotStarted'
), hangup AS (
    SELECT position, occurred, substring(convert_from(raw, 'UTF8') FROM 'Uniqueid: ([0-9.]+)') AS id
    FROM event WHERE name = 'Hangup'
), item AS (
    SELECT position, substring(convert_from(raw, 'UTF8') FROM 'Uniqueid: ([0-9.]+)') AS id
    FROM event WHERE name = 'CoreShowChannel'
)
SELECT count(*) FILTER (WHERE occurred BETWEEN began AND ended) AS during,
       count(*) FILTER (WHERE hangup.position BETWEEN first AND last) AS amid,
       count(*) FILTER (WHERE EXISTS (
           SELECT FROM item WHERE item.id = hangup.id AND item.position BETWEEN first AND last
               AND item.position > hangup.position)) AS listed_after
FROM hangup JOIN list ON hangup.occurred BETWEEN began AND ended OR hangup.position BETWEEN first AND last
"""


async def originate(asterisk: Asterisk, seconds: str) -> None:
    await asterisk.ami.act(
        "Originate",
        Channel="Local/answer@local",
        Context="local",
        Exten="answer",
        Priority="1",
        Variable=f"__HOLD={seconds}",
        Async="true",
    )


async def test_channels_that_hang_up_during_lists_stay_away(asterisk: Asterisk, start_ledger: StartLedger) -> None:
    ledger = await start_ledger(asterisk.host)
    await ledger.snapshot()
    for _ in range(ROUNDS):
        for _ in range(PAIRS):
            await originate(asterisk, "60")
        at = await ledger.caught_up(asterisk)
        # A reload makes the listener request everything again, while channels come and go by the hundred.
        enough = asyncio.Event()
        churn = asyncio.create_task(churned(asterisk, enough))
        await asterisk.cli("module reload res_musiconhold.so")

        async def listed(at: int = at) -> bool:
            return bool(await ledger.connection.fetchval(LISTS, at))

        await eventually(listed, "the list is in the log")
        enough.set()
        await churn
        await asterisk.ami.act("Hangup", Channel="/^Local/")
        await agree(ledger, asterisk, "after the hangups", (CHANNELS,), seconds=60)
    raced = dict((await ledger.rows(RACED))[0])
    assert raced["during"], "no channel hung up while a list was sent: this test has shown nothing"
    # Asterisk 22 lists the channels whose state it sent last. Asterisk 16 lists a second cache, which may be behind the
    # events: a channel may be listed after its Hangup, and has stayed away from the views above.
    assert raced["listed_after"] == 0 or asterisk.version == "16"
    await ledger.stop()


async def churned(asterisk: Asterisk, enough: asyncio.Event) -> None:
    """Let channels come and go until it is enough."""
    while not enough.is_set():
        await originate(asterisk, "0.01")
