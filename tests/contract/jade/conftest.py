"""One world for the whole run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from api.app import create
from api.app_keys import ACCOUNTS, SEEDED
from schemas.settings import Settings
from services.commander.process import command
from services.database.connection import connect
from tests.captures import wire
from tests.contract.jade.pbx import FakePbx
from tests.contract.jade.world import PASSWORD, World
from tests.support.database import READ_MODELS, cloned
from tests.support.fake_ami import block
from tests.support.ledger import Ledger, open_ledger
from tests.support.polling import eventually
from tests.support.recordings import listener_events

NAME = "rich22"
CONTACT = block(
    "Event: ContactStatus",
    "Privilege: system,all",
    "URI: sip:101@192.0.2.7:5060",
    "ContactStatus: Reachable",
    "AOR: 101",
    "EndpointName: 101",
    "RoundtripUsec: 1234",
)
"""No phone is registered where the recording ends."""
MEMBER = block(
    "Event: QueueMemberAdded",
    "Privilege: agent,all",
    "Queue: billing",
    "MemberName: Agent/10001",
    "Interface: Local/10001@agents/n",
    "StateInterface: Agent:10001",
    "Membership: dynamic",
    "Penalty: 0",
    "CallsTaken: 0",
    "LastCall: 0",
    "LastPause: 0",
    "InCall: 0",
    "Status: 1",
    "Paused: 0",
    "PausedReason: ",
    "Ringinuse: 1",
)
"""A member named as the seed's (001:3483): no name in the recording has a slash."""

CONFIGURED = "SELECT count(DISTINCT name) >= 4 FROM configurations"


@pytest.fixture(scope="session")
async def world(postgresql_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A recorded PBX in the log, and a fake one under the same name that the commander asks."""
    async with cloned(postgresql_url, READ_MODELS) as url:
        ledger = await open_ledger(url)
        await ledger.write(*listener_events(wire(NAME)), pbx=NAME)
        await ledger.fold()
        asking = await connect(ledger.url, search_path="model, ledger")
        settings = Settings(data=tmp_path_factory.mktemp("data"), admin_password=PASSWORD)
        app = create(ledger.url, settings)
        async with (
            FakePbx(NAME, lambda *events: ledger.write(*events, pbx=NAME)) as pbx,
            running(ledger, pbx, settings.data),
            TestClient(TestServer(app)) as client,
        ):
            await asyncio.wait_for(app[SEEDED].wait(), 300)
            # The commander reads the four files when it begins.
            await eventually(lambda: asking.fetchval(CONFIGURED), CONFIGURED)
            world = World(client, ledger, pbx, asking)
            using = asyncio.create_task(use_tokens(world))
            world.admin, world.manager = await world.person("admin"), await world.person("manager")
            await world.hears(CONTACT + MEMBER)
            yield world
            using.cancel()
            for going, _ in world.made.values():
                await going.aclose()
            await world.settled()
        await asking.close()
        await ledger.close()


async def use_tokens(world: World) -> None:
    """Use each token once a minute: a busy machine may run other tests for longer than an unused token lives."""
    while True:
        for token in world.tokens:
            world.app[ACCOUNTS].user_of_token(token)
        await asyncio.sleep(60)


@asynccontextmanager
async def running(ledger: Ledger, pbx: FakePbx, data: Path) -> AsyncIterator[None]:
    """Run the projector and the commander until the end of the block."""
    stop, wake = asyncio.Event(), asyncio.Event()
    listening = await connect(ledger.url)
    await listening.add_listener("ledger", lambda *_: wake.set())
    projecting = asyncio.create_task(ledger.projector.run(stop, wake))
    commanding = asyncio.create_task(command(Settings(ami=(pbx.pbx(pbx.name),), data=data), ledger.url, stop))
    yield
    stop.set()
    wake.set()
    await asyncio.gather(projecting, commanding)
    await listening.close()
