"""A commander in this process, and requests and outcomes of acts in the log."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from schemas.acts import ActRequested, builtins
from schemas.acts.channel import ChannelHangup
from schemas.log import NewEvent, RingledgerEvent
from services.commander.commander import Commander
from services.database.notify import notify_commander
from services.log.append import append_events
from tests.support.fake_ami import FakeAmi
from tests.support.polling import eventually

ACT_EVENTS = "SELECT name, raw FROM ledger.event WHERE name LIKE 'Act%' ORDER BY position"


@asynccontextmanager
async def commander_task(fake: FakeAmi, url: str) -> AsyncIterator[Commander]:
    stop = asyncio.Event()
    commander = Commander(fake.pbx(), url)
    running = asyncio.create_task(commander.run(stop))
    yield commander
    stop.set()
    await running


async def request_hangup(connection: asyncpg.Connection, name: str, *, pbx: str = "pbx", recorded: float = 0.0) -> None:
    """Request the hangup of PJSIP/<name>; the act's id is ``name`` too."""
    await append_event(connection, ActRequested(name, builtins(ChannelHangup(f"PJSIP/{name}"))), pbx, recorded)
    await notify_commander(connection, pbx)


async def append_event(
    connection: asyncpg.Connection, event: RingledgerEvent, pbx: str = "pbx", recorded: float = 0.0
) -> None:
    now = recorded or time.time()
    received = NewEvent("ringledger", type(event).__name__, now, now, msgspec.json.encode(event))
    await append_events(connection, pbx, time.time_ns(), 1, [received])


async def act_events(connection: asyncpg.Connection) -> list[tuple[str, dict[str, Any]]]:
    return [(name, msgspec.json.decode(raw)) for name, raw in await connection.fetch(ACT_EVENTS)]


async def wait_outcome(connection: asyncpg.Connection, act_id: str) -> dict[str, Any]:
    """Wait for the outcome of an act, and return it."""
    outcomes = ("ActSucceeded", "ActFailed", "ActUnknown")

    async def outcome() -> dict[str, Any] | None:
        return next(
            (event for name, event in await act_events(connection) if name in outcomes and event["id"] == act_id),
            None,
        )

    event: dict[str, Any] | None = await eventually(outcome, f"{act_id} has an outcome")
    assert event is not None
    return event
