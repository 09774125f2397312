"""The listener process: one listener and one writer per PBX."""

import asyncio

from schemas.settings import Settings
from services.ingest import Ingest
from services.listener import Listener


async def listen(settings: Settings, url: str, stop: asyncio.Event) -> None:
    """Listen to every PBX until ``stop``; then say so in the log, and return when all is in it."""
    async with asyncio.TaskGroup() as group:
        for pbx in settings.ami:
            group.create_task(_one(Listener(pbx, ingest := Ingest(url, pbx.name)), ingest, stop))


async def _one(listener: Listener, ingest: Ingest, stop: asyncio.Event) -> None:
    writing = asyncio.create_task(ingest.run())
    listening = asyncio.create_task(listener.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([writing, listening, stopping], return_when=asyncio.FIRST_COMPLETED)
    listener.stop()
    try:
        await listening
    finally:
        ingest.stop()
        await writing
        stopping.cancel()
