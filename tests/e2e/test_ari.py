"""ARI's own account of the same calls, in the same log."""

from tests.e2e.asterisk import Asterisk
from tests.e2e.conftest import StartLedger
from tests.e2e.stories import connect_phones
from tests.e2e.truth import CHANNELS, agree
from tests.support.polling import eventually

CHANNEL_IDS = """
SELECT convert_from(raw, 'UTF8')::json -> 'channel' ->> 'id' FROM event WHERE source = 'ari' AND name = $1
"""


async def test_ari_has_the_same_channels(asterisk: Asterisk, start_ledger: StartLedger) -> None:
    ledger = await start_ledger(asterisk.host, with_ari=True)
    await ledger.snapshot()
    await ledger.own_event("AriConnected")
    call, _ = await connect_phones(asterisk, "100", "101")
    tables = await agree(ledger, asterisk, "talking", (CHANNELS,))
    await call.hang_up()
    for name in ("ChannelCreated", "ChannelDestroyed"):

        async def is_logged(name: str = name) -> bool:
            return {row[0] for row in await ledger.rows(CHANNEL_IDS, name)} >= tables["channels"].keys()

        await eventually(is_logged, f"ARI says {name} of both channels")
    await agree(ledger, asterisk, "ended")
    await ledger.stop()
