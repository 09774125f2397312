"""The commander process: one commander per PBX, independent of each other."""

import asyncio
from functools import partial

from schemas.settings import Settings
from services.commander.commander import Commander
from services.runtime.supervise import supervised


async def command(settings: Settings, url: str, stop: asyncio.Event) -> None:
    """Carry out acts at every PBX of RINGLEDGER_AMI until ``stop``."""
    users = {pbx.name: pbx for pbx in settings.ami_command}
    commanders = [
        Commander(users[pbx.name], url, "RINGLEDGER_AMI_COMMAND") if pbx.name in users else Commander(pbx, url)
        for pbx in settings.ami
    ]
    await asyncio.gather(*(supervised("commander", c.pbx.name, partial(c.run, stop), stop) for c in commanders))
    await stop.wait()
