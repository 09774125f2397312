"""The changes of each event: together they are the rows, and each change belongs to one event."""

import random
from typing import Any

import pytest
from msgspec.structs import replace

from projections import ALL
from projections.engine.model import Handler, ReadModel
from projections.engine.state import FoldState
from projections.engine.step import Change, FoldError, StepFold
from projections.queues.queue_entries import QUEUE_ENTRIES
from tests.support.folding import FoldSpec, ami, recorded
from tests.support.folding import recorded_all as as_recorded
from tests.support.recorded_events import snapshotted

LIVE = [model for model in ALL if model.is_state]


def no_rows(*models: ReadModel) -> dict[str, tuple[FoldState, list[Any]]]:
    return {model.name: (FoldState(), []) for model in models}


def apply(rows: dict[str, dict[Any, Any]], changes: list[Change], models: dict[str, ReadModel]) -> None:
    """Apply the changes to the rows; each must find the row as the change before it left it."""
    for change in changes:
        row = change.after or change.before
        key = (row.pbx, *(getattr(row, name) for name in models[change.model].key))
        assert rows[change.model].get(key) == change.before
        assert change.before != change.after
        if change.after is None:
            del rows[change.model][key]
        else:
            rows[change.model][key] = change.after


@pytest.mark.parametrize("recording", ["rich22", "rich16"])
def test_changes_add_up_to_the_rows(recording: str) -> None:
    events = list(as_recorded(snapshotted(recording)))
    models = {model.name: model for model in LIVE}
    step = StepFold(LIVE, no_rows(*LIVE))
    rows: dict[str, dict[Any, Any]] = {name: {} for name in models}
    names, start = frozenset(step.names), random.Random(4).randrange(len(events))
    for event in events[:start]:
        if event.name in names:
            apply(rows, step.apply(event), models)
    assert rows == FoldSpec(*LIVE).given(events[:start]).rows == {name: step.rows(name) for name in models}
    # A fold that begins with the rows and states of another one makes the same changes.
    states = {fold.model.name: fold.state for fold in step._folds}
    other = StepFold(LIVE, {name: (states[name], [replace(row) for row in rows[name].values()]) for name in models})
    count = 0
    for event in events[start:]:
        if event.name in names:
            changes = step.apply(event)
            assert other.apply(event) == changes
            apply(rows, changes, models)
            count += len(changes)
    assert count > 1000
    assert rows == FoldSpec(*LIVE).given(events).rows


def test_changes_of_one_event_have_one_order() -> None:
    join = [
        ami("QueueCallerJoin", Queue="q", Uniqueid=unique_id, Position=str(n), Channel=f"c{n}")
        for n, unique_id in enumerate(("1.9", "1.1", "1.5", "1.3"), 1)
    ]
    step = StepFold([QUEUE_ENTRIES], no_rows(QUEUE_ENTRIES))
    for position, raw in enumerate(join, 1):
        assert [(c.before, c.after.unique_id) for c in step.apply(recorded(position, raw))][-1][0] is None
    changes = step.apply(recorded(9, ami("QueueCallerLeave", Queue="q", Uniqueid="1.9", Position="1", Count="3")))
    assert [(c.before.unique_id, c.after and c.after.position) for c in changes] == [
        ("1.1", 1),
        ("1.3", 3),
        ("1.5", 2),
        ("1.9", None),
    ]


def test_a_failing_fold_is_named_in_the_error() -> None:
    def broken(_row: Any, _e: Any) -> Any:
        raise ZeroDivisionError

    on: Any = QUEUE_ENTRIES.on["QueueCallerJoin"]
    model = replace(QUEUE_ENTRIES, grouped_by=None, on={"QueueCallerJoin": Handler(on.shape, on.key, broken)})
    event = recorded(7, ami("QueueCallerJoin", Queue="q", Uniqueid="1.1", Position="1"))
    with pytest.raises(FoldError, match=r"queue_entries at position 7 \(QueueCallerJoin\)"):
        StepFold([model], no_rows(model)).apply(event)


def test_an_event_that_does_not_convert_changes_nothing() -> None:
    step = StepFold([QUEUE_ENTRIES], no_rows(QUEUE_ENTRIES))
    assert step.apply(recorded(1, ami("QueueCallerJoin", Queue="q", Uniqueid="1.1", Position="x"))) == []
    assert len(step.apply(recorded(2, ami("QueueCallerJoin", Queue="q", Uniqueid="1.1", Position="1")))) == 1
