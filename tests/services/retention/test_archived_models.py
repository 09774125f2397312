"""Read models of an archived log: they begin at its edge, and are what the whole log would have made of them."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from projections import ALL
from projections.calls.call_records import CALL_RECORDS
from projections.calls.channels import CHANNELS
from projections.engine.model import ReadModel, Row
from services.database.connection import connect
from services.log.archives import ArchivedError
from services.projector import saved_states as saved
from services.projector.rebuild.diff import differences
from services.projector.rebuild.rebuild import RebuildError, rebuild
from services.projector.table import Table
from services.replay import instants
from services.replay.as_of import AsOfReader
from services.replay.history import HistoryError, HistoryQuery, query_history
from services.retention.redact import redact
from services.retention.redact_pattern import RedactionPattern
from services.retention.redact_report import report
from tests.support.archiving import append_months, drop_models, fold, model_state, month, run_archive
from tests.support.redacting import tables_holding
from tests.support.two_pbx_log import Truth, events_of

SERVED = "SELECT position, version, error FROM ledger.checkpoint WHERE model = 'channels' AND place = 'model'"
FILES = "2026-03.jsonl.zst, 2026-04.jsonl.zst"


async def test_a_second_archive_changes_no_model(url: str, tmp_path: Path) -> None:
    ends = await append_months(url)
    truth = Truth(await events_of(url)).upto(ends[-1])
    await run_archive(url, tmp_path, "2026-04")
    await fold(url)
    await run_archive(url, tmp_path, "2026-06")
    connection = await connect(url)
    old = await connection.fetch("SELECT DISTINCT position, kept FROM ledger.saved WHERE position <= $1", ends[2])
    assert old == [(ends[2], True)]  # what was kept at the first edge is of no use
    await connection.close()
    await drop_models(url)
    await fold(url)
    served = await model_state(url)
    for model in ALL:
        table = Table(model)
        assert {table.key_of(row): row for row in table.rows(served[model.name])} == truth.rows[model.name], model.name


async def test_an_archive_changes_no_later_as_of(url: str, tmp_path: Path) -> None:
    ends = await append_months(url, 8000)
    events = await events_of(url)
    await run_archive(url, tmp_path, "2026-05")
    dice, truth = random.Random(3), Truth(events)
    connection = await connect(url)
    folding = AsOfReader(ALL)
    names = [model.name for model in ALL]
    for position in sorted({ends[1], ends[1] + 1, ends[3], *(dice.randint(ends[1], ends[3]) for _ in range(20))}):
        tables = truth.upto(position)
        then = await folding.read(connection, names, await instants.find(connection, position))
        for name, one in then.items():
            assert {one.table.key_of(row): row for row in one.rows} == tables.rows[name], (position, name)
    truth = Truth(events)
    now = events[-1][1]
    latest = max(at for _, at in events[: ends[1]])
    for at in sorted({latest, month(2), now, *(dice.choice(events[ends[1] :])[1] for _ in range(10))}):
        tables = truth.by(at)
        then = await folding.read(connection, names, await instants.find(connection, at))
        for name, one in then.items():
            assert {one.table.key_of(row): row for row in one.rows} == tables.rows[name], (at, name)
    with pytest.raises(ArchivedError, match=r"2026-04\.jsonl\.zst"):
        await instants.find(connection, ends[1] - 1)
    await connection.close()


async def test_an_instant_archived_during_its_fold_is_refused(url: str, tmp_path: Path) -> None:
    ends = await append_months(url, 2000)
    connection = await connect(url)
    early = await instants.find(connection, ends[0])
    late = await instants.find(connection, ends[2])
    folding = AsOfReader(ALL)
    done: list[int] = []

    class Archiving(AsOfReader):
        """Archives months after the initial states were read."""

        async def _start(self, *arguments: Any) -> list[Any]:
            starts = await super()._start(*arguments)
            if not done:
                done.append(1)
                await run_archive(url, tmp_path, "2026-05")
            return starts

    events = await events_of(url)
    then = await Archiving(ALL).read(connection, ["channels"], late)
    assert done
    truth = Truth(events, [CHANNELS]).upto(ends[2]).rows["channels"]
    assert {then["channels"].table.key_of(row): row for row in then["channels"].rows} == truth
    with pytest.raises(ArchivedError, match=r"position 501 is archived"):
        await folding.read(connection, ["channels"], early)
    await connection.close()


async def test_rebuild_and_diff_begin_at_the_edge(url: str, tmp_path: Path) -> None:
    ends = await append_months(url, 4000)
    await fold(url)
    await run_archive(url, tmp_path, "2026-05")
    await fold(url)
    before = await model_state(url)
    assert [c.model.name for c in await differences(url, ALL) if c.differs] == []
    outcome = await rebuild(url, ALL, None, asyncio.Event())
    assert (outcome.code, outcome.failed) == (0, [])
    assert await model_state(url) == before
    with pytest.raises(RebuildError, match=r"--to 5: it is archived: 2026-03\.jsonl\.zst holds 2026-03") as refused:
        await rebuild(url, ALL, 5, asyncio.Event())
    assert refused.value.code == 2
    await drop_models(url)
    outcome = await rebuild(url, [CHANNELS], ends[1], asyncio.Event())
    assert outcome.done[0].startswith(f"rebuilt channels: served from position {ends[1]} on")
    with pytest.raises(HistoryError, match=r"position 5 is archived: 2026-03\.jsonl\.zst") as gone:
        await query_history(url, HistoryQuery(("5",), "channels"))
    assert gone.value.code == 2


async def test_a_raised_version_continues_with_equal_columns(url: str, tmp_path: Path) -> None:
    await append_months(url, 4000)
    await fold(url)
    await run_archive(url, tmp_path, "2026-05")
    before = await model_state(url)
    raised = replace(CHANNELS, version=CHANNELS.version + 1)
    projector = await fold(url, [raised])
    assert projector.stopped == {}
    connection = await connect(url)
    assert (await connection.fetchrow(SERVED))["version"] == raised.version
    await connection.close()
    assert (await model_state(url))["channels"] == before["channels"]


class Other(Row):
    """A row with other columns."""

    unique_id: str
    mood: str


async def test_a_model_without_its_archives_stops_alone(url: str, tmp_path: Path) -> None:
    await append_months(url, 4000)
    await fold(url)
    await run_archive(url, tmp_path, "2026-05")
    other = replace(CHANNELS, version=CHANNELS.version + 1, row=Other)
    new = ReadModel("moods", 1, Other, ("unique_id",), {})
    models = [other, new, CALL_RECORDS]
    projector = await fold(url, models)
    assert projector.stopped.keys() == {"channels", "moods"}
    assert "has only a saved state of version" in projector.stopped["channels"]
    assert "has no saved state at position" in projector.stopped["moods"]
    connection = await connect(url)
    served = await connection.fetchrow(SERVED)
    assert (served["version"], served["error"]) == (CHANNELS.version, projector.stopped["channels"])
    assert all(FILES in error for error in projector.stopped.values())
    head = await connection.fetchval("SELECT position FROM ledger.head")
    at = await connection.fetchval("SELECT position FROM ledger.checkpoint WHERE model = 'call_records'")
    assert at == head
    # The model stays stopped at every start, and folds nothing of the log without its beginning.
    again = await fold(url, models)
    assert again.stopped == projector.stopped
    assert await connection.fetchval("SELECT count(*) FROM model.moods") == 0
    await connection.close()
    # With the old program all is as it was.
    assert (await fold(url)).stopped == {}


async def test_pinned_states_are_never_thinned(url: str, tmp_path: Path) -> None:
    ends = await append_months(url, 2000)
    await run_archive(url, tmp_path, "2026-05")
    connection = await connect(url)
    await saved.thin(connection, month(9))
    retained = await connection.fetch("SELECT DISTINCT model FROM ledger.saved WHERE kept AND position = $1", ends[1])
    assert len(retained) == len(ALL)
    await connection.close()


async def test_archived_numbers_are_redacted_in_states(url: str, tmp_path: Path) -> None:
    await append_months(url)
    await fold(url)
    await run_archive(url, tmp_path, "2026-06", drop=True)
    connection = await connect(url)
    number = await connection.fetchval(
        "SELECT source FROM model.call_records WHERE source ~ '^[0-9]{3,}$' ORDER BY position LIMIT 1"
    )
    await connection.close()
    done = await redact(url, RedactionPattern("number", number), "redacted-ghijklmnopqr")
    assert "call_records" in done.models
    connection = await connect(url)
    assert await tables_holding(connection, number) == []
    await connection.close()
    names = ", ".join(str(tmp_path / f"2026-0{n}.jsonl.zst") for n in (3, 4, 5))
    assert report(done).splitlines()[-1] == f"not searched, and may contain it: {names}"
    assert (await fold(url)).stopped == {}
