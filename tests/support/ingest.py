"""Numbered events, and an ingest that runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from schemas.log import NewEvent
from services.listener.ingest import Ingest
from tests.support.fake_ami import block


def numbered_event(n: int) -> NewEvent:
    return NewEvent("ami", "VarSet", None, float(n), block("Event: VarSet", f"Value: {n}"))


@asynccontextmanager
async def running_ingest(ingest: Ingest) -> AsyncIterator[Ingest]:
    task = asyncio.create_task(ingest.run())
    yield ingest
    ingest.stop()
    await asyncio.wait_for(task, 300)
