"""The PBX itself: its modules, its version and times, its peers that are not PJSIP's."""

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.truth import CORE, agree

RELOADED = 6.0
"""Seconds: after a reload Ringledger waits one for those that follow, then asks for every list."""


async def test_modules_come_and_go(ledger: Ledger, asterisk: Asterisk) -> None:
    tables = await agree(ledger, asterisk, "at rest", CORE)
    assert tables["modules"]["app_dictate"] == ("Running",)
    await asterisk.ami.act("ModuleLoad", Module="app_dictate.so", LoadType="unload")
    tables = await agree(ledger, asterisk, "unloaded", CORE, seconds=RELOADED)
    assert tables["modules"].get("app_dictate") != ("Running",)
    await asterisk.ami.act("ModuleLoad", Module="app_dictate.so", LoadType="load")
    tables = await agree(ledger, asterisk, "loaded", CORE, seconds=RELOADED)
    assert tables["modules"]["app_dictate"] == ("Running",)


async def test_a_reload_of_everything(ledger: Ledger, asterisk: Asterisk) -> None:
    before = await agree(ledger, asterisk, "at rest", CORE)
    await asterisk.cli("core reload")
    tables = await agree(ledger, asterisk, "reloaded", seconds=RELOADED)
    assert tables["queues"]
    after = await agree(ledger, asterisk, "reloaded", CORE, seconds=RELOADED)
    assert after["systems"]["pbx"][:2] == before["systems"]["pbx"][:2]
