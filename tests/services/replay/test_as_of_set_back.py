"""As of a time that our clock showed twice, because it was set back by an hour: the last moment at which it did."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from projections.calls.channels import CHANNELS
from schemas.log import NewEvent
from services.database.connection import connect
from services.log.append import append_events
from services.replay import instants
from services.replay.as_of import AsOfReader
from services.replay.instants import InvalidInstantError
from tests.support import two_pbx_log

TEN = datetime(2026, 11, 22, 10, tzinfo=UTC)


def clock(minutes: float) -> datetime:
    return TEN + timedelta(minutes=minutes)


STORY = [
    *((minutes, minutes) for minutes in range(10, 130, 10)),  # to 11:59 by the clock; at 12:00 it is set back to 11:00
    *((minutes, 120) for minutes in range(65, 120, 10)),
    *((minutes, minutes) for minutes in range(125, 150, 10)),
]
"""When a channel came by the listener's clock, and when it was appended (minutes after ten)."""


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Append the story, each channel as a batch of its own; the number in a unique id is its place in the story."""
    own = await connect(url, search_path="model, ledger")
    await own.execute("UPDATE ledger.head SET appended = '-infinity'")
    for number, (recorded, appended) in enumerate(STORY):
        await two_pbx_log.set_clock(own, clock(appended))
        raw = f"Event: Newchannel\r\nUniqueid: 1.{number}\r\n\r\n".encode()
        event = NewEvent("ami", "Newchannel", None, clock(recorded).timestamp(), raw)
        await append_events(own, "pbx", 1, number + 1, [event])
    yield own
    await own.close()


async def channels(connection: asyncpg.Connection, requested_at: int | datetime) -> tuple[int, datetime]:
    """Return how many channels of the story there were, all from its beginning, and which time it was."""
    instant = await instants.find(connection, requested_at, clock(1000))
    models = (await AsOfReader([CHANNELS]).read(connection, ["channels"], instant))["channels"]
    assert {row.unique_id for row in models.rows} == {f"1.{number}" for number in range(len(models.rows))}
    return len(models.rows), instant.at


@pytest.mark.parametrize(
    ("minutes", "number"),
    [(10, 1), (55, 5), (60, 6), (64, 6), (65, 13), (70, 13), (104, 16), (115, 18), (119, 18), (130, 19), (150, 21)],
)
async def test_a_time_that_came_twice_is_the_last_one(
    connection: asyncpg.Connection, minutes: float, number: int
) -> None:
    assert await channels(connection, clock(minutes)) == (number, clock(minutes))


async def test_a_position_has_the_time_that_the_clock_showed(connection: asyncpg.Connection) -> None:
    for position, (recorded, _) in enumerate(STORY, 1):
        assert await channels(connection, position) == (position, clock(recorded))


async def test_a_time_before_the_log_is_no_instant(connection: asyncpg.Connection) -> None:
    with pytest.raises(InvalidInstantError, match="before the first event"):
        await channels(connection, clock(9))
