"""As of any instant: what a fold from the first event up to there makes, for every model, from wherever it begins."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from projections import ALL
from services.database import connection as database
from services.replay import instants
from services.replay.as_of import AsOfModel, AsOfReader, TooFarError
from services.replay.instants import Instant, InvalidInstantError
from tests.support import two_pbx_log as heard
from tests.support.database import READ_MODELS, cloned
from tests.support.folding import FoldSpec
from tests.support.two_pbx_log import SPOOLED, Event, Truth

NAMES = [model.name for model in ALL]
INSTANTS = 200


class Log:
    """The log of two PBXes, folded, with saved states at odd places."""

    def __init__(self, connection: asyncpg.Connection, events: list[Event]) -> None:
        self.connection = connection
        self.events = events
        self.as_of = AsOfReader(ALL)

    async def held(self, asked: int | datetime) -> tuple[Instant, dict[str, AsOfModel]]:
        now = self.events[-1][1] + timedelta(seconds=3600)
        instant = await instants.find(self.connection, asked, now)
        return instant, await self.as_of.read(self.connection, NAMES, instant)


@pytest.fixture(scope="module")
async def told(postgresql_url: str) -> AsyncIterator[Log]:
    async with cloned(postgresql_url, READ_MODELS) as url:
        await heard.append(url)
        await heard.project(url)
        own = await database.connect(url, search_path="model, ledger")
        yield Log(own, await heard.events_of(url))
        await own.close()


def assert_same(held: dict[str, AsOfModel], truth: FoldSpec) -> None:
    for model in ALL:
        one = held[model.name]
        assert {one.table.key_of(row): row for row in one.rows} == truth.rows[model.name], model.name
        assert one.state == truth.states[model.name], model.name


async def test_at_random_positions_it_is_the_fold_from_the_first_event(told: Log) -> None:
    dice = random.Random(6)
    positions = sorted({1, len(told.events), *(dice.randint(1, len(told.events)) for _ in range(INSTANTS))})
    truth = Truth(told.events)
    for position in positions:
        instant, held = await told.held(position)
        assert (instant.position, instant.at) == (position, max(at for _, at in told.events[:position]))
        assert_same(held, truth.upto(position))


async def test_at_random_times_it_is_the_fold_of_what_was_heard_by_then(told: Log) -> None:
    truth = Truth(told.events)
    behind = 0
    for at in heard.moments(told.events, INSTANTS, seed=6):
        instant, held = await told.held(at)
        assert_same(held, truth.by(at))
        behind += instant.spans[-1][1] > instant.position
    assert behind > INSTANTS / 10  # so many fell into a time that was spooled


async def test_it_begins_at_a_saved_state(told: Log) -> None:
    """From the nearest one, by time from the nearest that holds nothing younger, and reads no further than it must."""
    sizes = []
    for position in (5_000, 50_000, 70_000):
        instant, _ = await told.held(position)
        begun = await told.as_of._begin(told.connection, ["channels"], instant, None)
        sizes.append(position - begun[0].position)
        by_time, _ = await told.held(instant.at)
        begun = await told.as_of._begin(told.connection, ["channels"], by_time, None)
        sizes.append(sum(upto - max(after, begun[0].position) for after, upto in by_time.spans))
    assert 0 < max(sizes) < 2_500


async def test_what_was_spooled_counts_when_it_was_heard(told: Log) -> None:
    begin = told.events[0][1]
    since, until = SPOOLED["rich16"]
    at = begin + timedelta(seconds=(since + until) / 2)
    late = [e.position for e, recorded in told.events if e.pbx == "rich16" and recorded <= at][-1]
    instant, held = await told.held(at)
    (_, appended), (spooled, until_) = instant.spans
    assert instant.position <= appended < spooled < late <= until_
    assert spooled - appended > 5_000  # what came in between is not read
    assert [e.position for e, recorded in told.events[:appended] if recorded <= at][-1] == instant.position
    _, by_position = await told.held(instant.position)

    def rows_of(one: AsOfModel, pbx: str) -> list[Any]:
        return sorted((row for row in one.rows if row.pbx == pbx), key=one.table.key_of)

    assert rows_of(held["channels"], "rich22") == rows_of(by_position["channels"], "rich22")
    assert rows_of(held["channels"], "rich16") != rows_of(by_position["channels"], "rich16")


async def test_a_state_of_another_version_is_not_used(told: Log) -> None:
    """Then an older one is that may be, or else the first event."""
    transaction = told.connection.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        await told.connection.execute("UPDATE ledger.saved SET version = 99, state = '{}' WHERE position > 20000")
        await told.connection.execute("UPDATE ledger.saved SET version = 99 WHERE model = 'queues'")
        await told.connection.execute("UPDATE ledger.saved_rows SET version = 99, rows = '[]' WHERE changed > 20000")
        await told.connection.execute("UPDATE ledger.saved_rows SET version = 99 WHERE model = 'queues'")
        instant = await instants.find(told.connection, 24_000)
        found = {name: await saved_at(told, name, instant) for name in ("channels", "queues")}
        assert (18_000 < found["channels"] <= 20_000, found["queues"]) == (True, 0)
        assert_same(await told.as_of.read(told.connection, NAMES, instant), Truth(told.events).upto(24_000))
    finally:
        await transaction.rollback()


async def saved_at(told: Log, name: str, instant: Instant) -> int:
    (begun,) = await told.as_of._begin(told.connection, [name], instant, None)
    return begun.position


async def test_what_is_too_far_is_not_begun(told: Log) -> None:
    instant = await instants.find(told.connection, 70_000)
    with pytest.raises(TooFarError, match=r"70,000 events would have to be folded for statistics, more than 60,000"):
        await told.as_of.read(told.connection, ["channels", "statistics"], instant, 60_000)
    assert set(await told.as_of.read(told.connection, ["channels"], instant, 60_000)) == {"channels"}


@pytest.mark.parametrize(
    ("text", "meant"),
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
def test_what_is_meant(text: str, meant: int | datetime) -> None:
    assert instants.parse(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "-1", "+1", "1.5", "1e3", "²", "1" * 19, "now", "2026-11-22", "2026-11-22T01:00:00", "01:00:00Z"),
        *("2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-22T25:00:00Z", "2026-11-22T01:00:61Z"),
        *("2026-11-22T01:00:00+25:00", "2026-11-22T01:00:00+0100", "0001-01-01T00:00:00+10:00", "0000-01-01T00:00:00Z"),
        *("9999-12-31T23:59:59-10:00", "2026-11-22T01:00Z", "2026-11-22T01:00:00Z ", "2026-11-22T01:00:00ZZ"),
    ],
)
def test_nonsense_is_named(text: str) -> None:
    with pytest.raises(InvalidInstantError, match=r"is no position and no time such as 2026"):
        instants.parse(text)


async def test_what_is_outside_the_log_is_named(told: Log) -> None:
    first, last = min(at for _, at in told.events), len(told.events)
    now = told.events[-1][1]
    for asked, why in (
        (0, f"there is no position 0: the log goes from 1 to {last}"),
        (last + 1, f"there is no position {last + 1}: the log goes from 1 to {last}"),
        (first - timedelta(microseconds=1), "is before the first event, of 2026-11-22T00:56:19.*Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "is before the first event"),
        (now + timedelta(seconds=61), "is still to come"),
        (datetime(9999, 1, 1, tzinfo=UTC), "is still to come"),
    ):
        with pytest.raises(InvalidInstantError, match=why):
            await instants.find(told.connection, asked, now)
    assert (await instants.find(told.connection, now + timedelta(seconds=60), now)).at == now


async def test_an_empty_log_has_no_instants(url: str) -> None:
    connection = await asyncpg.connect(url)
    for asked in (0, 1, datetime(2026, 11, 22, tzinfo=UTC)):
        with pytest.raises(InvalidInstantError, match="the log is empty"):
            await instants.find(connection, asked)
    await connection.close()
