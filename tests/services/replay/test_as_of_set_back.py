"""A time that occurs twice, because Ringledger's clock was set back by an hour, is the last such moment."""

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
from tests.support.log_clock import set_clock

TEN = datetime(2026, 11, 22, 10, tzinfo=UTC)


def clock(minutes: float) -> datetime:
    return TEN + timedelta(minutes=minutes)


CHANNEL_TIMES = [
    *((minutes, minutes) for minutes in range(10, 130, 10)),  # to 11:59 by the clock; at 12:00 it is set back to 11:00
    *((minutes, 120) for minutes in range(65, 120, 10)),
    *((minutes, minutes) for minutes in range(125, 150, 10)),
]
"""For each channel: the time of its event by the listener's clock, and of the append (minutes after ten)."""


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Append each channel as a batch of its own, with its index in the list in the unique id."""
    connection = await connect(url, search_path="model, ledger")
    await connection.execute("UPDATE ledger.head SET appended = '-infinity'")
    for number, (recorded, appended) in enumerate(CHANNEL_TIMES):
        await set_clock(connection, clock(appended))
        raw = f"Event: Newchannel\r\nUniqueid: 1.{number}\r\n\r\n".encode()
        event = NewEvent("ami", "Newchannel", None, clock(recorded).timestamp(), raw)
        await append_events(connection, "pbx", 1, number + 1, [event])
    yield connection
    await connection.close()


async def channels(connection: asyncpg.Connection, requested_at: int | datetime) -> tuple[int, datetime]:
    """Return the number of channels as of an instant, which must be the first ones, and the instant's time."""
    instant = await instants.find(connection, requested_at, clock(1000))
    models = (await AsOfReader([CHANNELS]).read(connection, ["channels"], instant))["channels"]
    assert {row.unique_id for row in models.rows} == {f"1.{number}" for number in range(len(models.rows))}
    return len(models.rows), instant.at


@pytest.mark.parametrize(
    ("minutes", "number"),
    [(10, 1), (55, 5), (60, 6), (64, 6), (65, 13), (70, 13), (104, 16), (115, 18), (119, 18), (130, 19), (150, 21)],
)
async def test_a_repeated_time_is_its_last_occurrence(
    connection: asyncpg.Connection, minutes: float, number: int
) -> None:
    assert await channels(connection, clock(minutes)) == (number, clock(minutes))


async def test_a_position_has_its_recorded_time(connection: asyncpg.Connection) -> None:
    for position, (recorded, _) in enumerate(CHANNEL_TIMES, 1):
        assert await channels(connection, position) == (position, clock(recorded))


async def test_a_time_before_the_log_is_refused(connection: asyncpg.Connection) -> None:
    with pytest.raises(InvalidInstantError, match="before the first event"):
        await channels(connection, clock(9))
