"""One world for the whole run."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from aiohttp.test_utils import TestClient, TestServer

from api.app import create
from api.keys import FRESHNESS, SEEDED
from schemas.settings import Settings
from services import database
from services.command import command
from services.users import hash_password
from tests.api.conftest import Ledger, heard, opened
from tests.captures import wire
from tests.contract.jade.pbx import FakePbx
from tests.contract.jade.world import PASSWORD, World

NAME = "rich22"


@pytest.fixture(scope="session")
async def world(template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A recorded PBX in the log, and a fake one under the same name that the commander asks."""
    connection = await asyncpg.connect(template)
    await connection.execute("CREATE DATABASE world TEMPLATE template_ringledger")
    ledger = await opened(template.replace("/postgres?", "/world?"))
    await ledger.write(*heard(wire(NAME)), pbx=NAME)
    await ledger.fold()
    settings = Settings(data=tmp_path_factory.mktemp("data"), admin_password=PASSWORD)
    app = create(ledger.url, settings)
    async with FakePbx(NAME, lambda data: ledger.write(data, pbx=NAME)) as pbx, running(ledger, pbx, settings.data):
        async with TestClient(TestServer(app)) as client:
            await asyncio.wait_for(app[SEEDED].wait(), 10)
            world = World(client, ledger, app[FRESHNESS], pbx, hash_password(PASSWORD))
            world.admin = await world.person("admin")
            yield world
    await ledger.close()
    await connection.execute("DROP DATABASE world WITH (FORCE)")
    await connection.close()


class running:  # noqa: N801 (reads as what it does)
    """Let the projector fold and the commander do what is asked for, until the end of the block."""

    def __init__(self, ledger: Ledger, pbx: FakePbx, data: Path) -> None:
        self._ledger = ledger
        self._settings = Settings(ami=(pbx.pbx(pbx.name),), data=data)
        self._stop, self._wake = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> None:
        self._listening = await database.connect(self._ledger.url)
        await self._listening.add_listener("ledger", lambda *_: self._wake.set())
        self._projecting = asyncio.create_task(self._ledger.projector.run(self._stop, self._wake))
        self._commanding = asyncio.create_task(command(self._settings, self._ledger.url, self._stop))

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        self._wake.set()
        await asyncio.gather(self._projecting, self._commanding)
        await self._listening.close()
