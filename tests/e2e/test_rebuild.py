"""Read models are rebuilt while phones talk, and they still agree with Asterisk."""

import asyncio

from projections import ALL
from services.projector.rebuild.diff import differences
from services.projector.rebuild.rebuild import rebuild
from services.projector.rebuild.report import lines
from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.stories import connect_phones
from tests.e2e.truth import agree


async def test_a_call_lasts_through_rebuilds(ledger: Ledger, asterisk: Asterisk) -> None:
    _, answering = await connect_phones(asterisk, "100", "101")
    talking = await agree(ledger, asterisk, "talking")
    assert len(talking["channels"]) == 2
    for _ in range(3):
        outcome = await rebuild(ledger.url, ALL, None, asyncio.Event())
        assert (outcome.code, outcome.failed) == (0, [])
        assert "by the running projector" in outcome.done[-1]
        assert (await agree(ledger, asterisk, "talking, and rebuilt"))["channels"] == talking["channels"]
    rebuilding = asyncio.create_task(rebuild(ledger.url, ALL, None, asyncio.Event()))
    await answering.hang_up()
    assert (await agree(ledger, asterisk, "ended while rebuilding"))["channels"] == {}
    assert (await rebuilding).code == 0
    assert (await agree(ledger, asterisk, "ended and rebuilt"))["channels"] == {}
    assert lines(await differences(ledger.url, ALL))[-1].endswith(": nothing differs")
