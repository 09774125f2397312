"""A call through two PBXes: Asterisk 22 and 16 with a trunk between them, and one Ringledger that listens to both."""

from collections.abc import AsyncIterator

import pytest

from tests.e2e.asterisk import Asterisk
from tests.e2e.calls.run import Run
from tests.e2e.calls.scene import Scene
from tests.e2e.calls.story import Story
from tests.e2e.conftest import StartLedger

TRUNK = """
[trunk](phone)
aors = trunk
; Its From has the trunk's name, by which the other PBX finds its own endpoint; the caller is in P-Asserted-Identity.
from_user = trunk
send_pai = yes
trust_id_inbound = yes
[trunk]
type = aor
contact = sip:{host}:5060
"""


@pytest.fixture
async def beside(asterisk: Asterisk) -> AsyncIterator[Asterisk]:
    """The other version, with a trunk to ``asterisk`` and back."""
    beside = await Asterisk("16" if asterisk.version == "22" else "22", beside=asterisk).start()
    await asterisk.shell("cp", "/etc/asterisk/pjsip.conf", "/etc/asterisk/pjsip.conf.before")
    for one, other in ((asterisk, beside), (beside, asterisk)):
        await one.add_configuration("pjsip.conf", TRUNK.format(host=other.host))
        await one.cli("module reload res_pjsip.so")
    yield beside
    await beside.quiet()
    await beside.stop()
    await asterisk.shell("mv", "/etc/asterisk/pjsip.conf.before", "/etc/asterisk/pjsip.conf")
    await asterisk.cli("module reload res_pjsip.so")


async def test_a_call_through_two_pbxes(asterisk: Asterisk, beside: Asterisk, start_ledger: StartLedger) -> None:
    ledger = await start_ledger(asterisk.host, beside=beside.host)
    await ledger.snapshot()
    runs = [await Run(asterisk, ledger).start(), await Run(beside, ledger, "beside").start()]
    here, there = (Scene(run.asterisk, ledger, run.position, run.pbx) for run in runs)
    alice, bob = await here.phone("100"), await there.phone("101")
    call = alice.call("861")
    answering = await bob.rung()
    answering.answer()
    await call.up()
    await here.wait_talk("100", "trunk")
    await there.wait_talk("trunk", "101")
    await call.hang_up()
    await answering.over()
    assert await here.story() == Story(
        "100",
        "861",
        "answered",
        "caller 100",
        answered_by="trunk",
        destination="trunk",
        rings=["100 > trunk answered"],
        talks=["100 trunk"],
        callees=["trunk"],
        numbers={"trunk": "861"},
        direction="outbound",
    )
    assert await there.story() == Story(
        "trunk",
        "101",
        "answered",
        "caller trunk",
        answered_by="101",
        destination="101",
        rings=["trunk > 101 answered"],
        talks=["trunk 101"],
        callees=["101"],
        numbers={"trunk": "100"},
        direction="inbound",
    )
    for run in runs:
        await run.check()
    await ledger.stop()
