"""The source of an event counts: a PBX's event with the name of a Ringledger event changes nothing."""

from datetime import UTC, datetime

import pytest

from projections import ALL
from projections.calls.call_records import CALL_RECORDS, CallRecord
from projections.engine.decoding import DecodedEvent
from projections.engine.fold import Fold
from projections.engine.machine_fold import MachineFold, new_fold
from projections.engine.model import ReadModel
from projections.engine.state import FoldState
from projections.engine.subscriptions import event_names_of
from schemas.log import RecordedEvent, Source
from tests.support.pair_model import PAIRS

AT = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = sorted({name for model in ALL for name in event_names_of(model)})


@pytest.mark.parametrize("model", [*ALL, PAIRS], ids=lambda model: str(model.name))
def test_an_event_of_another_source_is_not_folded(model: ReadModel) -> None:
    fold = new_fold(model, FoldState())
    for name in NAMES:
        is_own = any(getattr(m.on[name].shape, "source_of_events", "ami") == "ringledger" for m in ALL if name in m.on)
        forged: Source = "ami" if is_own or name.startswith("Snapshot") else "ringledger"
        for source in (forged, "ari"):
            raw = b'{"epoch": 1, "uuid": "1"}' if source != "ami" else b"Event: " + name.encode() + b"\r\n\r\n"
            fold.apply(DecodedEvent(RecordedEvent(1, "pbx", source, name, AT, raw, AT)))
    fold.run()
    assert not isinstance(fold, MachineFold) or (fold.ids, fold.dirty) == (set(), set())
    assert (fold.keys, fold.groups, fold.pbxes, fold.state, fold.rejected, fold.error) == (
        set(),
        set(),
        set(),
        FoldState(),
        [],
        None,
    )


def test_a_pbx_cannot_mark_a_record_as_imported() -> None:
    fold = Fold(CALL_RECORDS, FoldState())
    headers = (
        b"StartTime: 2026-11-22 10:00:00\r\nEndTime: 2026-11-22 10:00:30\r\nDuration: 30\r\nUniqueID: 1795341600.1"
    )
    raw = b"Event: Cdr\r\n_source: cdr_csv\r\n" + headers + b"\r\n\r\n"
    posted = datetime(2026, 11, 22, 10, 7, 30, tzinfo=UTC)
    fold.apply(DecodedEvent(RecordedEvent(1, "pbx", "ami", "Cdr", posted, raw, posted)))
    fold.run()
    [record] = fold.rows.values()
    assert isinstance(record, CallRecord)
    assert (record.utc_offset, record.end_time) == (0, datetime(2026, 11, 22, 10, 0, 30, tzinfo=UTC))
