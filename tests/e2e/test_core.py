"""The PBX itself: its modules, its version and times, its peers that are not PJSIP's."""

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.stories import RELOAD_SECONDS
from tests.e2e.truth import CORE, agree


async def test_modules_come_and_go(ledger: Ledger, asterisk: Asterisk) -> None:
    tables = await agree(ledger, asterisk, "at rest", CORE)
    assert tables["modules"]["app_dictate"] == ("Running",)
    await asterisk.ami.act("ModuleLoad", Module="app_dictate.so", LoadType="unload")
    tables = await agree(ledger, asterisk, "unloaded", CORE, seconds=RELOAD_SECONDS)
    assert tables["modules"].get("app_dictate") != ("Running",)
    await asterisk.ami.act("ModuleLoad", Module="app_dictate.so", LoadType="load")
    tables = await agree(ledger, asterisk, "loaded", CORE, seconds=RELOAD_SECONDS)
    assert tables["modules"]["app_dictate"] == ("Running",)


async def test_a_reload_of_everything(ledger: Ledger, asterisk: Asterisk) -> None:
    before = await agree(ledger, asterisk, "at rest", CORE)
    await asterisk.cli("core reload")
    tables = await agree(ledger, asterisk, "reloaded", seconds=RELOAD_SECONDS)
    assert tables["queues"]
    after = await agree(ledger, asterisk, "reloaded", CORE, seconds=RELOAD_SECONDS)
    assert after["systems"]["pbx"][:2] == before["systems"]["pbx"][:2]
