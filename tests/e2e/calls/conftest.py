"""The scenes' own dialplan and phones, the scene of each test, and the checks of each module's run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.asterisk import Asterisk
from tests.e2e.calls.run import Run
from tests.e2e.calls.scene import Scene
from tests.e2e.ledger import Ledger

CONFIGURATION = Path(__file__).parent / "conf"
"""Each file ``NAME/PART.conf`` belongs to the end of Asterisk's NAME.conf."""


MODULES = ("pbx_config.so", "res_pjsip.so", "app_queue.so", "res_parking.so", "features")
SAVE = "cp -a /etc/asterisk /tmp/asterisk-before"
RESTORE = "cp -a /tmp/asterisk-before/. /etc/asterisk/ && rm -r /tmp/asterisk-before"


@pytest.fixture(scope="package")
async def configured(running: Asterisk) -> AsyncIterator[Asterisk]:
    """Asterisk with the scenes' configuration; other tests find its own one again."""
    await running.shell("sh", "-c", SAVE)
    for path in sorted(CONFIGURATION.glob("*/*.conf")):
        await running.add_configuration(f"{path.parent.name}.conf", path.read_text(encoding="utf-8"))
    for module in MODULES:
        await running.cli(f"module reload {module}")
    yield running
    await running.shell("sh", "-c", RESTORE)
    for module in MODULES:
        await running.cli(f"module reload {module}")


@pytest.fixture(scope="module", autouse=True)
async def run(configured: Asterisk, listening: Ledger) -> AsyncIterator[Run]:
    """The run of a module: at its end the calls agree with everything else that Asterisk writes."""
    await listening.snapshot()
    run = await Run(configured, listening).start()
    yield run
    await run.check()


@pytest.fixture
async def scene(asterisk: Asterisk, ledger: Ledger) -> Scene:
    """The calls of one test. Asterisk is at rest before and after it."""
    return Scene(asterisk, ledger, await ledger.caught_up(asterisk))
