"""A catch-up subscription reads every event, whenever it is appended."""

import time
from typing import Any

import pytest

from projections import ALL
from schemas.log import NewEvent
from services.database.connection import connect
from services.database.heartbeat import Heartbeat
from services.database.pool import Pool, open_pool
from services.log.append import append_events
from services.replay.as_of import READ, AsOfReader
from services.replay.subscription import Subscription

CHANNELS = [model for model in ALL if model.name == "channels"]
EVENTS = 6


def newchannel(number: int) -> NewEvent:
    raw = f"Event: Newchannel\r\nChannel: PJSIP/1-{number:08x}\r\nUniqueid: 1.{number}\r\nLinkedid: 1.{number}\r\n\r\n"
    now = time.time()
    return NewEvent("ami", "Newchannel", now, now, raw.encode())


@pytest.mark.parametrize("beyond", [0, 1, 5])
async def test_an_event_appended_after_a_read_follows(url: str, monkeypatch: pytest.MonkeyPatch, beyond: int) -> None:
    """The reader requests events ``beyond`` the end, as it does after the log came back shorter."""
    connection = await connect(url)
    positions: list[int] = []

    async def append() -> None:
        number = len(positions) + 1
        if number <= EVENTS:
            positions.append(await append_events(connection, "pbx", 1, number, [newchannel(number)]))

    fetch = Pool.fetch

    async def fetch_and_append(self: Pool, sql: str, *args: Any) -> Any:
        rows = await fetch(self, sql, *args)
        if sql == READ:
            await append()
        return rows

    monkeypatch.setattr(Pool, "fetch", fetch_and_append)
    await append()
    async with await open_pool(url, Heartbeat(url), size=1, search_path="model, ledger") as pool:
        subscription = await Subscription.open(pool, AsOfReader(CHANNELS), 0)
        read: list[int] = []
        while subscription.position < positions[-1]:
            read += [event.position async for event, _ in subscription.read(pool, positions[-1] + beyond)]
    await connection.close()
    assert read == positions
    assert len(read) == EVENTS
