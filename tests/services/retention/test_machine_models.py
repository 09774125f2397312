"""A model with a machine continues from an archive's state, and no number is left in its rows after a redaction."""

from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from schemas.log import NewEvent
from services.database.connection import connect
from services.log.append import append_events
from services.projector.projector import Projector
from services.projector.rebuild.diff import differences
from services.replay import instants
from services.replay.as_of import AsOfReader
from services.retention import archive, redact_log, redact_models
from services.retention.redact import redact
from services.retention.redact_models import ModelRedactor
from tests.support.archiving import append_months, fold, run_archive
from tests.support.folding import FoldSpec
from tests.support.pair_model import PAIRS, folded_tables, pair, pairs, random_pairs, served_tables
from tests.support.projectors import finish, open_projector
from tests.support.redacting import NUMBER, PATTERN, TOKEN, tables_holding
from tests.support.two_pbx_log import events_of

LIKE_OLD = f"SELECT count(*) FROM ledger.saved_rows WHERE rows::text LIKE '%{NUMBER}%'"


@pytest.fixture(autouse=True)
def _only_pairs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (archive, redact_log, redact_models):
            patch.setattr(module, "ALL", (PAIRS,))
        yield


async def drop(connection: asyncpg.Connection) -> None:
    for table in ("pairs", "pair_ids", "pair_tags", "tag_sums"):
        await connection.execute(f"DROP TABLE model.{table}")
    await connection.execute("DELETE FROM ledger.checkpoint")


async def test_rows_after_an_archive_equal_the_whole_fold(url: str, tmp_path: Path) -> None:
    ends = await append_months(url, events=random_pairs(3, 800))
    connection = await connect(url, search_path="model, ledger")
    whole = await folded_tables(connection)
    events = [event for event, _ in await events_of(url)]
    await fold(url, [PAIRS])
    await run_archive(url, tmp_path, "2026-05")
    await drop(connection)
    projector = await fold(url, [PAIRS])
    assert projector.stopped == {}
    assert await served_tables(connection) == whole
    assert [c for c in await differences(url, [PAIRS]) if c.differs] == []
    raised = pairs(version=2)
    await finish(await open_projector(connection, raised), 70)
    assert await served_tables(connection, raised) == whole
    as_of = AsOfReader([PAIRS])
    for position in (ends[1], ends[1] + 1, ends[2], ends[3]):
        then = (await as_of.read(connection, ["pairs"], await instants.find(connection, position)))["pairs"]
        folded = FoldSpec(PAIRS).given(events[:position])
        assert {(row.pbx, row.pair): row for row in then.rows} == folded.rows["pairs"]
    await connection.close()


def with_number() -> list[NewEvent]:
    """Return events with the number in a key of derived rows, in stories and in bodies."""
    return [
        pair("Begin", 1000.0, Id="1", Tag=NUMBER, Amount=2),
        pair("Late", 1001.0, Id="1", Tag=f"x {NUMBER}"),
        pair("End", 1002.0, Id="1"),
        pair("Begin", 1003.0, Id="2", Tag=TOKEN, Amount=3),
        pair("End", 1004.0, Id="2"),
        pair("Begin", 1005.0, Id="3", Tag=NUMBER, Amount=4),
        pair("Begin", 1006.0, Id="4", Tag="other"),
    ]


async def test_a_redaction_reaches_json_and_derived_rows(url: str, connection: asyncpg.Connection) -> None:
    await append_events(connection, "pbx", 1, 1, with_number())
    await finish(await open_projector(connection, PAIRS), 3)
    assert set(await tables_holding(connection, NUMBER)) >= {"model.pairs", "model.pair_tags", "model.tag_sums"}
    done = await redact(url, PATTERN, TOKEN)
    assert done.models == ["pairs"]
    assert await tables_holding(connection, NUMBER) == []
    tables = await served_tables(connection)
    assert tables == await folded_tables(connection)
    total = tables["tag_sums"]["pbx", TOKEN]
    assert (total.pairs, total.amount, total.numbers) == (3, 9, [1, 4, 6])
    (row,) = (row for row in tables["pairs"].values() if row.pair == "1")
    assert row.body["notes"] == [f"x {TOKEN}"]


@pytest.mark.parametrize("table", ["pair_tags", "tag_sums"])
async def test_a_number_in_derived_rows_is_found(connection: asyncpg.Connection, table: str) -> None:
    await append_events(connection, "pbx", 1, 1, with_number()[-1:])
    await finish(await open_projector(connection, PAIRS))
    await connection.execute(f"UPDATE {table} SET tag = '{NUMBER}'")
    assert await ModelRedactor(connection, PATTERN, TOKEN).affected_models() == ["pairs"]


async def test_a_redaction_reaches_the_pinned_state(url: str, tmp_path: Path) -> None:
    """An open and an ended pair of the archived months go on under the token."""
    await append_months(url, events=[*with_number(), *(pair("Tag", 1010.0 + n, Id="3", Tag="x") for n in range(9))])
    await fold(url, [PAIRS])
    await run_archive(url, tmp_path, "2026-06", drop=True)
    connection = await connect(url, search_path="model, ledger")
    assert await connection.fetchval(LIKE_OLD) > 0
    await redact(url, PATTERN, TOKEN)
    assert await tables_holding(connection, NUMBER) == []
    tables = await served_tables(connection)
    assert {key[1] for key in tables["tag_sums"]} == {TOKEN, f"x {TOKEN}", "other", "x"}
    assert tables["tag_sums"]["pbx", TOKEN].pairs == 3
    await connection.close()
    assert isinstance(await fold(url, [PAIRS]), Projector)
