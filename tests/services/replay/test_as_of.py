"""As of any instant every model equals a fold from the first event, from whatever saved state the fold begins."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from projections import ALL
from services.database.connection import connect
from services.replay import instants
from services.replay.as_of import AsOfModel, AsOfReader, TooFarError
from services.replay.instants import Instant, InvalidInstantError
from tests.support import two_pbx_log
from tests.support.database import cloned, name_of
from tests.support.folding import FoldSpec
from tests.support.two_pbx_log import SPOOLED, Event, Truth

NAMES = [model.name for model in ALL]
INSTANTS = 200
WHOLE = 8
"""At one instant in eight the calls are folded from the first event, which only ended ones require: 0.4 s each time.
At the others they begin at a saved state, as the views do, and the open ones are compared."""


class Log:
    """The folded log of two PBXes, with saved states at irregular positions."""

    def __init__(self, connection: asyncpg.Connection, events: list[Event]) -> None:
        self.connection = connection
        self.events = events
        self.as_of = AsOfReader(ALL)

    async def models(
        self, requested_at: int | datetime, *, lacks_ended: bool = False
    ) -> tuple[Instant, dict[str, AsOfModel]]:
        now = self.events[-1][1] + timedelta(seconds=3600)
        instant = await instants.find(self.connection, requested_at, now)
        return instant, await self.as_of.read(self.connection, NAMES, instant, lacks_ended=lacks_ended)


@pytest.fixture(scope="module")
async def log(postgresql_url: str, two_pbx_url: str) -> AsyncIterator[Log]:
    async with cloned(postgresql_url, name_of(two_pbx_url)) as url:
        connection = await connect(url, search_path="model, ledger")
        yield Log(connection, await two_pbx_log.events_of(url))
        await connection.close()


def assert_same(models: dict[str, AsOfModel], truth: FoldSpec, *, lacks_ended: bool = False) -> None:
    """Assert that each model has the rows and the state of the truth; with ``lacks_ended`` a machine's open rows."""
    for model in ALL:
        actual, expected = models[model.name], truth.rows[model.name]
        rows = {actual.table.key_of(row): row for row in actual.rows}
        if lacks_ended and model.machine is not None:
            rows, expected = (
                {key: row for key, row in some.items() if getattr(row, model.end_column) is None}
                for some in (rows, expected)
            )
        assert rows == expected, model.name
        assert actual.state == truth.states[model.name], model.name


async def test_as_of_a_position_equals_a_full_fold(log: Log) -> None:
    dice = random.Random(6)
    positions = sorted({1, len(log.events), *(dice.randint(1, len(log.events)) for _ in range(INSTANTS))})
    truth, open_rows = Truth(log.events), 0
    for number, position in enumerate(positions):
        lacks_ended = number % WHOLE > 0
        instant, models = await log.models(position, lacks_ended=lacks_ended)
        assert (instant.position, instant.at) == (position, max(at for _, at in log.events[:position]))
        assert_same(models, truth.upto(position), lacks_ended=lacks_ended)
        open_rows += sum(row.ended_at is None for row in models["calls"].rows)
    assert open_rows > INSTANTS


async def test_as_of_a_time_equals_a_full_fold(log: Log) -> None:
    truth = Truth(log.events)
    behind = 0
    for number, at in enumerate(two_pbx_log.moments(log.events, INSTANTS, seed=6)):
        lacks_ended = number % WHOLE > 0
        instant, models = await log.models(at, lacks_ended=lacks_ended)
        assert_same(models, truth.by(at), lacks_ended=lacks_ended)
        behind += instant.spans[-1][1] > instant.position
    assert behind > INSTANTS / 10  # instants at which events were spooled


async def test_as_of_begins_at_the_nearest_saved_state(log: Log) -> None:
    """For a time it is the nearest saved state without later events; the fold reads as little as possible."""
    sizes = []
    for position in (5_000, 50_000, 70_000):
        instant, _ = await log.models(position)
        starts = await log.as_of._start(log.connection, ["channels"], instant, None)
        sizes.append(position - starts[0].position)
        by_time, _ = await log.models(instant.at)
        starts = await log.as_of._start(log.connection, ["channels"], by_time, None)
        sizes.append(sum(upto - max(after, starts[0].position) for after, upto in by_time.spans))
    assert 0 < max(sizes) < 2_500


async def test_a_spooled_event_counts_from_its_recorded_time(log: Log) -> None:
    begin = log.events[0][1]
    since, until = SPOOLED["rich16"]
    at = begin + timedelta(seconds=(since + until) / 2)
    last_spooled = [e.position for e, recorded in log.events if e.pbx == "rich16" and recorded <= at][-1]
    instant, models = await log.models(at)
    (_, appended), (spooled, last) = instant.spans
    assert instant.position <= appended < spooled < last_spooled <= last
    assert spooled - appended > 5_000  # the events in between are not read
    assert [e.position for e, recorded in log.events[:appended] if recorded <= at][-1] == instant.position
    _, by_position = await log.models(instant.position)

    def rows_of(model: AsOfModel, pbx: str) -> list[Any]:
        return sorted((row for row in model.rows if row.pbx == pbx), key=model.table.key_of)

    assert rows_of(models["channels"], "rich22") == rows_of(by_position["channels"], "rich22")
    assert rows_of(models["channels"], "rich16") != rows_of(by_position["channels"], "rich16")


async def test_a_saved_state_of_another_version_is_skipped(log: Log) -> None:
    """The fold begins at an older saved state, or at the first event."""
    transaction = log.connection.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        await log.connection.execute("UPDATE ledger.saved SET version = 99, state = '{}' WHERE position > 20000")
        await log.connection.execute("UPDATE ledger.saved SET version = 99 WHERE model = 'queues'")
        await log.connection.execute("UPDATE ledger.saved_rows SET version = 99, rows = '[]' WHERE changed > 20000")
        await log.connection.execute("UPDATE ledger.saved_rows SET version = 99 WHERE model = 'queues'")
        instant = await instants.find(log.connection, 24_000)
        starts = {name: await start_of(log, name, instant) for name in ("channels", "queues")}
        assert (18_000 < starts["channels"] <= 20_000, starts["queues"]) == (True, 0)
        assert_same(await log.as_of.read(log.connection, NAMES, instant), Truth(log.events).upto(24_000))
    finally:
        await transaction.rollback()


async def start_of(log: Log, name: str, instant: Instant) -> int:
    (starts,) = await log.as_of._start(log.connection, [name], instant, None)
    return starts.position


async def test_a_fold_beyond_the_limit_is_refused(log: Log) -> None:
    instant = await instants.find(log.connection, 70_000)
    with pytest.raises(TooFarError, match=r"statistics requires folding 70,000 events; the limit is 60,000"):
        await log.as_of.read(log.connection, ["channels", "statistics"], instant, 60_000)
    assert set(await log.as_of.read(log.connection, ["channels"], instant, 60_000)) == {"channels"}


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1", 1),
        ("0123", 123),
        ("2026-11-22T01:00:00Z", datetime(2026, 11, 22, 1, tzinfo=UTC)),
        ("2026-11-22t01:00:00.25z", datetime(2026, 11, 22, 1, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-11-22 02:30:00+01:30", datetime(2026, 11, 22, 1, tzinfo=UTC)),
        ("2026-11-22T02:30:00 01:30", datetime(2026, 11, 22, 1, tzinfo=UTC)),
        ("2026-11-21T20:00:00.1234567-05:00", datetime(2026, 11, 22, 1, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_an_instant_is_parsed(text: str, instant: int | datetime) -> None:
    assert instants.parse(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "-1", "+1", "1.5", "1e3", "²", "1" * 19, "now", "2026-11-22", "2026-11-22T01:00:00", "01:00:00Z"),
        *("2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-22T25:00:00Z", "2026-11-22T01:00:61Z"),
        *("2026-11-22T01:00:00+25:00", "2026-11-22T01:00:00+0100", "0001-01-01T00:00:00+10:00", "0000-01-01T00:00:00Z"),
        *("9999-12-31T23:59:59-10:00", "2026-11-22T01:00Z", "2026-11-22T01:00:00Z ", "2026-11-22T01:00:00ZZ"),
    ],
)
def test_a_malformed_instant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInstantError, match=r"is neither a position nor a time such as 2026"):
        instants.parse(text)


async def test_an_instant_outside_the_log_is_refused(log: Log) -> None:
    first, last = min(at for _, at in log.events), len(log.events)
    now = log.events[-1][1]
    for requested_at, message in (
        (0, f"not found: position 0; the log has 1 to {last}"),
        (last + 1, f"not found: position {last + 1}; the log has 1 to {last}"),
        (first - timedelta(microseconds=1), "is before the first event, at 2026-11-22T00:56:19.*Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "is before the first event"),
        (now + timedelta(seconds=61), "is in the future"),
        (datetime(9999, 1, 1, tzinfo=UTC), "is in the future"),
    ):
        with pytest.raises(InvalidInstantError, match=message):
            await instants.find(log.connection, requested_at, now)
    assert (await instants.find(log.connection, now + timedelta(seconds=60), now)).at == now


async def test_an_empty_log_has_no_instant(url: str) -> None:
    connection = await asyncpg.connect(url)
    for requested_at in (0, 1, datetime(2026, 11, 22, tzinfo=UTC)):
        with pytest.raises(InvalidInstantError, match="the log is empty"):
            await instants.find(connection, requested_at)
    await connection.close()
