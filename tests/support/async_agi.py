"""A PBX with channels in async AGI, the log, and commanders to start and kill."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from unittest import mock

import asyncpg
import msgspec

from schemas.adps import AdpCreated, AdpmaCreated
from schemas.log import NewEvent, RingledgerEvent
from services.commander import term
from services.commander.commander import Commander
from services.database.connection import connect
from services.log.append import append_events
from services.projector.process import project
from tests.support.fake_ami import FakeAmi
from tests.support.fake_channels import FakeChannels
from tests.support.listener import listener_task
from tests.support.polling import eventually, present

MASTER = "1d47735d-2265-463c-908a-d37dea085c21"
OTHER = "2d47735d-2265-463c-908a-d37dea085c22"
COMMANDS = ("ANSWER", "SAY DIGITS 42 #", "SET VARIABLE GREETED yes")
RUN_EVENTS = "SELECT name, raw FROM ledger.event WHERE source = 'ringledger' AND name LIKE 'Agi%' ORDER BY position"


async def write(connection: asyncpg.Connection, *events: RingledgerEvent, pbx: str = "", recorded: float = 0.0) -> int:
    now = recorded or time.time()
    batch = [NewEvent("ringledger", type(event).__name__, now, now, msgspec.json.encode(event)) for event in events]
    return await append_events(connection, pbx, time.time_ns(), 1, batch)


class Scene:
    """A PBX with a listener, its channels, the log, and commanders to start and kill."""

    def __init__(self, url: str, ami: FakeAmi, connection: asyncpg.Connection, name: str = "pbx") -> None:
        self.url, self.ami, self.connection, self.name = url, ami, connection, name
        self.channels = FakeChannels(ami)
        self.commander: asyncio.Task[None] | None = None

    async def write(self, *events: RingledgerEvent, pbx: str = "", recorded: float = 0.0) -> int:
        return await write(self.connection, *events, pbx=pbx, recorded=recorded)

    async def create_master(self, uuid: str, *commands: str | None) -> None:
        """Create a master with these commands, and wait until it is folded."""
        steps = [
            # The commands are created last to first: their order is that of the sequence numbers.
            AdpCreated(f"{uuid}/{number}", uuid, 10 * number, f"step {number}", command=command)
            for number, command in reversed(list(enumerate(commands, 1)))
        ]
        await self.wait_folded(await self.write(AdpmaCreated(uuid, "master"), *steps))

    async def wait_folded(self, position: int) -> None:
        async def reached() -> bool:
            query = "SELECT min(position) FROM ledger.checkpoint WHERE model IN ('adpmas', 'adps', 'agi_runs')"
            return (await self.connection.fetchval(query) or 0) >= position

        await eventually(reached, f"{position} is folded")

    def start(self, at: str = "") -> asyncio.Event:
        stop = asyncio.Event()
        self.commander = asyncio.create_task(Commander(self.ami.pbx(self.name), at or self.url).run(stop))
        return stop

    async def kill(self) -> None:
        assert self.commander is not None
        self.commander.cancel()
        await asyncio.wait([self.commander])

    async def run_events(self, name: str = "") -> list[dict[str, Any]]:
        """Return the events of runs, all or those of one name."""
        rows = await self.connection.fetch(RUN_EVENTS)
        return [msgspec.json.decode(raw) for event, raw in rows if not name or event == name]

    async def wait_ended(self, number: int = 1) -> list[dict[str, Any]]:
        """Wait until ``number`` runs have ended, and return their `AgiRunEnded` events."""

        async def ends_of_runs() -> list[dict[str, Any]] | None:
            events = await self.run_events("AgiRunEnded")
            return events if len(events) >= number else None

        return await present(ends_of_runs, f"{number} runs have ended")

    def commands(self, unique_id: str = "1.1") -> list[str]:
        return [command for channel, command in self.channels.commands if channel == unique_id]


@asynccontextmanager
async def scenes(url: str, *names: str) -> AsyncIterator[list[Scene]]:
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        connection = await connect(url, search_path="model, ledger")
        stack.enter_context(mock.patch.object(term, "LISTENER_POLL_SECONDS", 0.05))
        amis = [await stack.enter_async_context(FakeAmi()) for _ in names]
        await stack.enter_async_context(
            listener_task(url, *(ami.pbx(name) for ami, name in zip(amis, names, strict=True)))
        )
        projector = asyncio.create_task(project(url, stop))
        created = [Scene(url, ami, connection, name) for ami, name in zip(amis, names, strict=True)]
        await eventually(lambda: all(ami.clients for ami in amis))
        yield created
        for scene in created:
            if scene.commander is not None and not scene.commander.done():
                await scene.kill()
        stop.set()
        await projector
        await connection.close()
