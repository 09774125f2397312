"""Machines: the rows do not depend on where batches end, nor on whether a new machine continues there."""

import itertools
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from projections.engine.decoding import DecodedEvent
from projections.engine.derived import DerivedRow, Parts, Sums
from projections.engine.fold import Fold
from projections.engine.keys import MAX_KEY_BYTES
from projections.engine.machine_fold import MachineFold, new_fold
from projections.engine.model import Handler, ReadModel
from projections.engine.state import FoldState
from projections.engine.step import StepFold
from projections.engine.trace import Trace
from schemas.log import Disconnected
from tests.support.folding import FoldSpec, recorded, recorded_all
from tests.support.note_model import NoteEvent, add_note, by_name, notes
from tests.support.pair_model import PAIRS, Pair, TagSum, add, ids_of, pair, pairs, random_pairs, subtract

SEEDS = range(3)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def derived(spec: FoldSpec, name: str) -> set[tuple[Any, ...]]:
    return {key[1:] for key in spec.check_derived().derived[name]}


def test_two_pairs_become_one_under_the_older_id() -> None:
    spec = FoldSpec(PAIRS).given([pair("Begin", 1.0, Id="1", Tag="x"), pair("Begin", 2.0, Id="2", Tag="y", Amount=3)])
    assert derived(spec, "pair_ids") == {("1", "1"), ("2", "2")}
    rows = spec.when(pair("Tag", 3.0, Id="2", Pair="1")).then()
    assert {key: (row.tags, row.amount, row.ended_at, row.tm_update) for key, row in rows.items()} == {
        ("1",): (["x", "y"], 3, None, at(3.0))
    }
    assert derived(spec, "pair_ids") == {("1", "1"), ("2", "1")}
    assert derived(spec, "pair_tags") == {("x", "1"), ("y", "1")}
    assert spec.derived["tag_sums"] == {
        ("pbx", "x"): TagSum("pbx", "x", 1, 3, [1]),
        ("pbx", "y"): TagSum("pbx", "y", 1, 3, [1]),
    }


@pytest.mark.parametrize("restarts", [False, True])
def test_a_late_event_changes_its_ended_pair(*, restarts: bool) -> None:
    spec = FoldSpec(PAIRS, restarts=restarts).when(
        pair("Begin", 1.0, Id="1", Pair="7"), pair("End", 2.0, Id="1", Tag="x"), pair("Begin", 3.0, Id="9")
    )
    (row,) = (row for row in spec.then().values() if row.ended_at is not None)
    assert (row.pair, row.story, row.body["notes"]) == ("7", None, [])
    spec.when(pair("Late", 4.0, Id="1", Tag="late"))
    assert set(spec.then()) == {("7",), ("9",)}
    assert (spec.then()[("7",)].body["notes"], spec.then()[("7",)].ended_at) == (["late"], at(2.0))
    # It becomes one with the open pair, and is open again.
    spec.when(pair("Tag", 5.0, Id="9", Pair="1"))
    ((key, row),) = spec.then().items()
    assert (key, row.ended_at, row.story["ids"]) == (("7",), None, ["1", "7", "9"])
    assert derived(spec, "tag_sums") == {("x",), ("late",)}


def test_facts_of_a_pbx_survive_a_restart() -> None:
    spec = FoldSpec(PAIRS, restarts=True).when(pair("Factor", 1.0, Amount=5), pair("Begin", 2.0, Id="1", Amount=2))
    assert spec.then()[("1",)].amount == 10
    assert spec.states["pairs"] == FoldState(memory={"pbx": {"factor": 5}})


def test_own_events_reach_machines_from_ringledger_only() -> None:
    begin, fake = pair("Begin", 1.0, Id="1"), pair("Begin", 1.0, Id="2")
    spec = FoldSpec(PAIRS).given([begin], "a").given([fake], "b")
    spec.given([b"Disconnected\0Event: Disconnected\r\n\r\n"], "a")
    assert spec.then(pbx="a")[("1",)].ended_at is None
    spec.when(Disconnected("lost", 1.0), pbx="a")
    assert spec.then(pbx="a")[("1",)].ended_at is not None
    assert spec.then(pbx="b")[("2",)].ended_at is None


@pytest.mark.parametrize("seed", SEEDS)
def test_cuts_and_restarts_give_the_same_rows(seed: int) -> None:
    events = random_pairs(seed, 300)
    once = FoldSpec(PAIRS).given(events).check_derived()
    dice = random.Random(seed)
    for longest in (1, 3, 40):
        for spec in (FoldSpec(PAIRS), FoldSpec(PAIRS, restarts=True)):
            start = 0
            while start < len(events):
                end = start + dice.randint(1, longest)
                spec.given(events[start:end])
                start = end
            assert spec.check_derived().then() == once.then()
            assert spec.derived == once.derived
            assert spec.states == once.states
            assert spec.rejected == []
    rows = once.then().values()
    assert {row.ended_at is None for row in rows} == {True, False}
    assert any(len(row.body["ids"]) > 1 for row in rows if row.body)
    assert any(row.body["notes"] for row in rows if row.body)


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_of_events_add_up_to_rows(seed: int) -> None:
    events = list(recorded_all(random_pairs(seed, 400)))
    once = FoldSpec(PAIRS).given(events)
    step = StepFold([PAIRS], {"pairs": (FoldState(), [])})
    half = FoldSpec(PAIRS).given(events[:200])
    later = StepFold([PAIRS], {"pairs": (half.states["pairs"], half.rows["pairs"].values())})
    rows: dict[Any, Pair] = {}
    for event in events:
        changes = step.apply(event)
        assert event.position <= 200 or later.apply(event) == changes
        for change in changes:
            row = change.after or change.before
            assert rows.get((row.pbx, row.pair)) == change.before != change.after
            if change.after is None:
                del rows[row.pbx, row.pair]
            else:
                rows[row.pbx, row.pair] = change.after
    assert rows == once.rows["pairs"] == step.rows("pairs") == later.rows("pairs")


@pytest.mark.parametrize("seed", SEEDS)
def test_an_explanation_has_all_events_of_a_row(seed: int) -> None:
    events = list(recorded_all(random_pairs(seed, 400)))
    once = FoldSpec(PAIRS).given(events).rows["pairs"]
    trace = Trace(PAIRS, frozenset(once))
    for start in range(0, len(events), 37):
        trace.fold(events[start : start + 37])
    assert trace.rows == once
    for key, row in once.items():
        steps = [step for step in trace.steps if step.key == key]
        assert steps[-1].after == row
        assert all(one.after == two.before for one, two in itertools.pairwise(steps))
        # The same events, one at a time, change nothing else.
        assert len({step.event.position for step in steps}) == len(steps)


def test_an_unfit_value_rejects_its_event_alone() -> None:
    events = [pair("Begin", 1.0, Id="1"), pair("Tag", 2.0, Id="1", Amount="many"), pair("Tag", 3.0, Id="1", Tag="x")]
    spec = FoldSpec(PAIRS).given(events)
    assert [(position, name) for position, name, _ in spec.rejected] == [(2, "PairTag")]
    assert spec.then()[("1",)].tags == ["x"]


@pytest.mark.parametrize("restarts", [False, True])
def test_too_long_keys_are_left_out(*, restarts: bool) -> None:
    long = "9" * MAX_KEY_BYTES
    spec = FoldSpec(PAIRS, restarts=restarts)
    spec.given([pair("Begin", 1.0, Id=long)])
    spec.given([pair("Begin", 2.0, Id="1", Tag=long)])
    spec.given([pair("Tag", 3.0, Id="1", Tag="x")])
    assert spec.then().keys() == {("1",)}
    assert spec.then()[("1",)].tags == [long, "x"]
    assert derived(spec, "pair_tags") == {("x", "1")}
    assert derived(spec, "tag_sums") == {("x",)}
    assert [(position, error) for position, _, error in spec.rejected] == [
        (1, f"a key of {MAX_KEY_BYTES + 3} bytes, where {MAX_KEY_BYTES} are the most")
    ]


class Faulty:
    """A machine whose methods fail."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __call__(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        def method(*_: Any) -> Any:
            if name == self.where:
                raise ValueError(name)
            return {"memory": {}, "row": None}.get(name, [("pbx", "1")])

        return method


@pytest.mark.parametrize("where", ["open", "missing", "load", "fold", "row", "forget"])
def test_a_machines_exception_is_the_models_fault(where: str) -> None:
    fold = new_fold(pairs(machine=Faulty(where)), FoldState())
    event = recorded(7, pair("Begin", 1.0, Id="1"))
    fold.apply(DecodedEvent(event))
    fold.apply(DecodedEvent(recorded(8, pair("Begin", 1.0, Id="1"))))
    fold.run()
    assert fold.error is not None
    assert str(fold.error[1]) == where
    assert fold.rejected == []


def test_a_model_without_machine_has_derived_tables_too() -> None:
    class NamePart(DerivedRow):
        letter: str
        name: str

    letters = Parts(
        "note_letters", NamePart, ("letter", "name"), lambda n: [NamePart(n.pbx, x, n.name) for x in n.name]
    )

    class SizeSum(DerivedRow):
        times: int
        size: int = 0

    sums = Sums(
        "note_sizes",
        SizeSum,
        ("times",),
        lambda n: [SizeSum(n.pbx, n.times, n.size)],
        lambda a, b: SizeSum(a.pbx, a.times, a.size + b.size),
        lambda a, b: SizeSum(a.pbx, a.times, a.size - b.size),
    )

    class Total(DerivedRow):
        size: int = 0

    totals = Sums(
        "note_totals",
        Total,
        (),
        lambda n: [Total(n.pbx, n.size)],
        lambda a, b: Total(a.pbx, a.size + b.size),
        lambda a, b: Total(a.pbx, a.size - b.size),
    )
    on = {"Note": Handler(NoteEvent, by_name, add_note)}
    model = ReadModel(name="notes", version=1, row=notes().row, key=("name",), on=on, derived=(letters, sums, totals))
    assert isinstance(new_fold(model, FoldState()), Fold)
    assert not isinstance(new_fold(model, FoldState()), MachineFold)
    note = b"Event: Note\r\nName: %s\r\nSize: 2\r\n\r\n"
    spec = FoldSpec(model).when(note % b"ab", note % b"ab", note % b"c").check_derived()
    assert spec.derived["note_letters"].keys() == {("pbx", "a", "ab"), ("pbx", "b", "ab"), ("pbx", "c", "c")}
    assert {key: row.size for key, row in spec.derived["note_sizes"].items()} == {("pbx", 1): 2, ("pbx", 2): 4}
    assert spec.derived["note_totals"] == {("pbx",): Total("pbx", 6)}


def test_a_wrong_definition_is_refused() -> None:
    class Loose(DerivedRow):
        id: str

    class Weight(DerivedRow):
        tag: str
        weight: float = 0.0

    class Demanding(DerivedRow):
        tag: str
        pairs: int

    with pytest.raises(ValueError, match="the key lacks pair"):
        ReadModel("x", 1, Pair, ("pair",), {}, derived=(Parts("loose", Loose, ("id",), ids_of),))
    with pytest.raises(ValueError, match="weight is a float"):
        Sums("weights", Weight, ("tag",), ids_of, add, subtract)
    with pytest.raises(ValueError, match="pairs has no default"):
        Sums("demands", Demanding, ("tag",), ids_of, add, subtract)
    with pytest.raises(ValueError, match="no parts nothing"):
        ReadModel("x", 1, Pair, ("pair",), {}, lookup="nothing")
    with pytest.raises(ValueError, match="without a value in open rows"):
        ReadModel("x", 1, Pair, ("pair",), {}, machine=PAIRS.machine)
