"""The row of an open call has the columns of its whole object, though most of that object is not made for it."""

import pytest

from projections.calls.call_rows import CallRow
from projections.calls.story.row import call_of
from tests.projections.calls.story.recorded import NAMES
from tests.projections.calls.story.sources import events_of
from tests.support.calls import CallTable, shaped_all
from tests.support.recorded_events import cut, snapshotted

COLUMNS = (
    *("linkedid", "started_at", "answered_at", "ended_at", "direction", "outcome", "talk_seconds", "duration_seconds"),
    *("aliases", "sources"),
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("source", ["all", "cel", "queue_log"])
def test_open_rows_have_columns_of_their_objects(name: str, source: str) -> None:
    events = shaped_all(snapshotted(name)) if source == "all" else events_of(name)[source]
    table, rows = CallTable(), 0
    for batch in cut(events, 150 if source == "all" else 5, seed=7):
        for row in table.fold(batch).lasting():
            assert columns_of(row) == columns_of_object(row)
            rows += 1
    assert rows > 10


def columns_of(row: CallRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in (*COLUMNS, "is_originated", "is_transferred")}


def columns_of_object(row: CallRow) -> dict[str, object]:
    call = call_of(row)
    columns = {name: getattr(call, name) for name in COLUMNS}
    return columns | {"is_originated": call.originated, "is_transferred": bool(call.transfers)}
