"""Saved states: each equals the projector's rows, is saved whole or not at all, and old ones are thinned out."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from projections import ALL
from projections.calls.call_records import CALL_RECORDS
from projections.calls.channels import CHANNELS
from projections.calls.parking_lots import PARKING_LOTS
from projections.engine.model import ReadModel
from projections.engine.state import FoldState
from projections.queues.queues import QUEUES
from schemas.log import NewEvent
from services.log.append import append_events
from services.projector import saved_states as saved
from services.projector.table import Table
from services.replay import instants
from services.replay.as_of import AsOfReader
from tests.support import two_pbx_log
from tests.support.projectors import open_projector
from tests.support.recorded_events import recording
from tests.support.two_pbx_log import Truth

STATES = (
    "SELECT model, version, position, changed, state, whole, kept, latest FROM ledger.saved ORDER BY position, model"
)
SOME = (CHANNELS, QUEUES, CALL_RECORDS)


async def append(connection: asyncpg.Connection, events: tuple[NewEvent, ...], first: int = 1) -> None:
    await append_events(connection, "pbx", 1, first, events)


async def saved_rows(connection: asyncpg.Connection, model: ReadModel, position: int) -> dict[Any, Any] | None:
    state = await saved.nearest(connection, model, position)
    if state is None:
        return None
    table = Table(model)
    return {table.key_of(row): row for row in await saved.rows_of(connection, state)}


async def test_a_saved_state_equals_the_projectors_rows(url: str, connection: asyncpg.Connection) -> None:
    await two_pbx_log.append(url)
    await two_pbx_log.project(url, every=3_001)
    rows = await connection.fetch(STATES)
    positions = sorted({row["position"] for row in rows})
    assert len(positions) == len(await two_pbx_log.events_of(url)) // 3_001
    assert len(rows) == len(positions) * len(ALL)
    events = await two_pbx_log.events_of(url)
    truth = Truth(events)
    for position in positions:
        tables = truth.upto(position)
        states = {row["model"]: row for row in rows if row["position"] == position}
        assert {row["latest"] for row in states.values()} == {max(at for _, at in events[:position])}
        for model in ALL:
            row = states[model.name]
            assert (row["version"], row["whole"], row["kept"]) == (model.version, model.is_state, False)
            assert msgspec.convert(row["state"], FoldState) == tables.states[model.name]
            if model.is_state:
                assert await saved_rows(connection, model, position) == tables.rows[model.name], model.name
    assert await connection.fetchval("SELECT count(*) FROM ledger.saved_rows WHERE model = 'call_records'") == 0


async def test_unchanged_rows_are_saved_once(connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "SAVE_INTERVAL", 1_000)
    events = recording("rich22")[:12_000]
    for first in range(0, len(events), 1_000):
        await append(connection, events[first : first + 1_000], first + 1)
    projector = await open_projector(connection, *ALL)
    while await projector.advance(1_000):
        pass
    counts = dict(await connection.fetch("SELECT model, count(DISTINCT changed) FROM ledger.saved_rows GROUP BY 1"))
    assert await connection.fetchval("SELECT count(DISTINCT position) FROM ledger.saved") == 12
    assert counts["channels"] == 12
    assert counts["parking_lots"] == 1
    assert await saved_rows(connection, PARKING_LOTS, 12_000) == await saved_rows(connection, PARKING_LOTS, 6_000) != {}


BREAK = """
CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER break BEFORE INSERT ON ledger.saved_rows EXECUTE FUNCTION no_space();
"""


async def test_rows_checkpoint_and_saved_state_commit_together(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "SAVE_INTERVAL", 1_000)
    await append(connection, recording("rich22")[:2_500])
    projector = await open_projector(connection, *SOME)
    await projector.advance(900)
    before = await connection.fetch("SELECT * FROM channels ORDER BY 1, 3")
    await connection.execute(BREAK)
    with pytest.raises(asyncpg.DiskFullError):
        await projector.advance(900)
    assert await connection.fetch(STATES) == []
    assert {row[0] for row in await connection.fetch("SELECT position FROM ledger.checkpoint")} == {900}
    assert await connection.fetch("SELECT * FROM channels ORDER BY 1, 3") == before
    await connection.execute("DROP TRIGGER break ON ledger.saved_rows")
    await projector.advance(900)
    assert [(row["model"], row["position"]) for row in await connection.fetch(STATES)] == [
        (name, 1_800) for name in ("call_records", "channels", "queues")
    ]


async def test_a_raised_version_replaces_old_states(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "SAVE_INTERVAL", 1_000)
    await append(connection, recording("rich22")[:5_500])
    projector = await open_projector(connection, QUEUES)
    while await projector.advance(700):
        pass
    raised = replace(QUEUES, version=QUEUES.version + 1)
    assert await saved.nearest(connection, raised, 5_500) is None
    projector = await open_projector(connection, raised)
    await projector.advance(1_600)
    state = await saved.nearest(connection, raised, 5_500)
    assert state is not None
    assert state.position == 1_600
    while await projector.advance(700):
        pass
    versions = "SELECT version, count(*) FROM ledger.saved GROUP BY 1 ORDER BY 1"
    assert [tuple(row) for row in await connection.fetch(versions)] == [(QUEUES.version, 5), (raised.version, 5)]
    await saved.thin(connection, state.latest)
    assert [tuple(row) for row in await connection.fetch(versions)] == [(raised.version, 5)]
    assert {row[0] for row in await connection.fetch("SELECT DISTINCT version FROM ledger.saved_rows")} == {
        raised.version
    }


async def test_a_rebuild_replaces_saved_states(connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "SAVE_INTERVAL", 1_000)
    await append(connection, recording("rich22")[:4_000])
    projector = await open_projector(connection, QUEUES)
    while await projector.advance(1_100):
        pass
    good = await saved_rows(connection, QUEUES, 4_000)
    assert good
    await connection.execute("UPDATE ledger.saved_rows SET rows = '[]'")
    assert await saved_rows(connection, QUEUES, 4_000) == {}
    # Another version is served, so the table of this version is rebuilt.
    await connection.execute("UPDATE ledger.checkpoint SET version = version - 1")
    projector = await open_projector(connection, QUEUES)
    while await projector.advance(1_300):
        pass
    positions = [row["position"] for row in await connection.fetch(STATES)]
    assert positions == [1_300, 2_600, 3_900, 4_000]  # and none at the positions of the other version
    assert await saved_rows(connection, QUEUES, 4_000) == good
    assert await connection.fetchval("SELECT count(*) FROM ledger.saved_rows WHERE rows::text = '[]'") == 0


async def test_a_pinned_state_holds_all_rows(connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "PART_ROWS", 50)
    events = recording("rich22")
    for first in range(0, len(events), 5_000):
        await append(connection, events[first : first + 5_000], first + 1)
    as_of, names = AsOfReader(ALL), [model.name for model in ALL]
    pin_at = await instants.find(connection, 30_000)
    pinned = await as_of.read(connection, names, pin_at)
    for model in ALL:
        one = pinned[model.name]
        await saved.pin(connection, saved.SavedState(model, 30_000, pin_at.at, one.changed, one.state), one.rows)
        await saved.pin(connection, saved.SavedState(model, 30_000, pin_at.at, one.changed, one.state), one.rows)
    assert await connection.fetchval("SELECT count(*) FROM ledger.saved_rows WHERE model = 'call_records'") > 2
    later = await instants.find(connection, 38_000)
    truth = {name: state.rows for name, state in (await as_of.read(connection, names, later)).items()}
    (base,) = await as_of._start(connection, ["call_records"], later, max_events=8_000)
    assert base.position == 30_000
    await saved.thin(connection, pin_at.at + timedelta(days=4_000))
    await connection.execute("DELETE FROM ledger.event WHERE position <= 30000")
    assert {name: state.rows for name, state in (await as_of.read(connection, names, later)).items()} == truth
    assert len(truth["call_records"]) > len(pinned["call_records"].rows) > 100


async def test_one_in_sixteen_old_states_remains(connection: asyncpg.Connection) -> None:
    await open_projector(connection, CHANNELS)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    dice = random.Random(31)
    for day in range(62):
        for hour in range(8):
            position = (day * 8 + hour + 1) * saved.SAVE_INTERVAL + dice.randint(0, 4_999)
            at = now - timedelta(days=62 - day, hours=-hour)
            await connection.execute(
                "INSERT INTO ledger.saved VALUES ('channels', $1, $2, $3, $4, '{}', true)",
                CHANNELS.version,
                position,
                at,
                position // 100_000,
            )
    await connection.execute(
        "INSERT INTO ledger.saved_rows SELECT model, version, changed, 0, '[]' FROM ledger.saved GROUP BY 1, 2, 3"
    )
    for _ in range(2):
        await saved.thin(connection, now)
        old, young = await connection.fetchrow(
            "SELECT count(*) FILTER (WHERE latest < $1), count(*) FILTER (WHERE latest >= $1) FROM ledger.saved",
            now - saved.THIN_AFTER,
        )
        assert young == 31 * 8
        assert 31 * 8 / saved.THIN_FACTOR <= old <= 31 * 8 / saved.THIN_FACTOR + 1
    orphans = "SELECT count(*) FROM ledger.saved_rows WHERE changed NOT IN (SELECT changed FROM ledger.saved)"
    assert await connection.fetchval(orphans) == 0
    missing = "SELECT count(*) FROM ledger.saved WHERE changed NOT IN (SELECT changed FROM ledger.saved_rows)"
    assert await connection.fetchval(missing) == 0


def test_saving_is_due_once_per_interval() -> None:
    position, saves = 0, []
    dice = random.Random(1)
    while position < 20 * saved.SAVE_INTERVAL:
        previous, position = position, position + dice.randint(1, 5_000)
        if saved.is_due(previous, position):
            saves.append(position // saved.SAVE_INTERVAL)
    assert saves == list(range(1, 21))
