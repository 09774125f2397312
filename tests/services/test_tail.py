"""A tail reads every event, whenever it comes."""

import time
from typing import Any

import pytest

from projections import ALL
from schemas.log import Received
from services import database, log
from services.as_of import READ, AsOf
from services.heartbeat import Heartbeat
from services.pool import Pool, open_pool
from services.tail import Tail

CHANNELS = [model for model in ALL if model.name == "channels"]
EVENTS = 6


def newchannel(number: int) -> Received:
    raw = f"Event: Newchannel\r\nChannel: PJSIP/1-{number:08x}\r\nUniqueid: 1.{number}\r\nLinkedid: 1.{number}\r\n\r\n"
    now = time.time()
    return Received("ami", "Newchannel", now, now, raw.encode())


@pytest.mark.parametrize("beyond", [0, 1, 5])
async def test_an_event_that_comes_right_after_a_read_is_read_next(
    url: str, monkeypatch: pytest.MonkeyPatch, beyond: int
) -> None:
    """Events are read ``beyond`` the end of the log, as after it came back shorter than its reader knows."""
    connection = await database.connect(url)
    positions: list[int] = []

    async def append() -> None:
        number = len(positions) + 1
        if number <= EVENTS:
            positions.append(await log.append(connection, "pbx", 1, number, [newchannel(number)]))

    fetch = Pool.fetch

    async def followed(self: Pool, sql: str, *args: Any) -> Any:
        rows = await fetch(self, sql, *args)
        if sql == READ:
            await append()
        return rows

    monkeypatch.setattr(Pool, "fetch", followed)
    await append()
    async with await open_pool(url, Heartbeat(url), size=1, search_path="model, ledger") as pool:
        tail = await Tail.open(pool, AsOf(CHANNELS), 0)
        found: list[int] = []
        while tail.position < positions[-1]:
            found += [event.position async for event, _ in tail.read(pool, positions[-1] + beyond)]
    await connection.close()
    assert found == positions
    assert len(found) == EVENTS
