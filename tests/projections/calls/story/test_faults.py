"""Events that are lost, doubled, swapped or altered stop nothing, and a complete list leaves nothing open."""

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from schemas.calls import Call
from tests.projections.calls.story.recorded import NAMES, table_of
from tests.support.calls import CallTable, shaped_all
from tests.support.folding import ListSnapshot
from tests.support.recorded_events import snapshotted
from tests.support.scene import UP, Scene
from tests.support.spoilt_events import spoilt


def folded(events: Sequence[Any], dice: random.Random) -> CallTable:
    """Return the table of the events, in batches of any size and with restarts."""
    table, start = CallTable(), 0
    while start < len(events):
        size = dice.randint(1, 600)
        table.fold(events[start : start + size])
        start += size
        if dice.random() < 0.1:
            table.restart()
    return table


def assert_all_over(table: CallTable) -> list[Call]:
    """Assert that a complete list without channels leaves nothing open; return the calls."""
    table.position = 1_000_000  # after all events
    last = ListSnapshot("CoreShowChannels", epoch=99_999)
    calls = list(table.take(last.start, last.empty, last.over).calls(untold=True).values())
    assert len(calls) > 200
    for call in calls:
        assert (call.state, call.outcome is None) == ("ended", False)
        assert None not in [leg.ended_at for leg in call.legs]
        assert None not in [ring.outcome for ring in call.rings] + [passage.outcome for passage in call.queues]
        assert None not in [talk.ended_at for talk in call.conversations]
        assert None not in [hold.until for hold in call.holds] + [stay.until for stay in call.parks]
        assert None not in [stay.until for stay in call.conferences] + [one.ended_at for one in call.recordings]
        assert call.started_at <= (call.ended_at or call.started_at)
        times = [(one.started_at, one.ended_at) for one in call.legs]
        times += [(one.started_at, one.ended_at) for one in call.rings]
        times += [(one.started_at, one.ended_at) for one in call.conversations]
        assert all(start <= (end or start) for start, end in times)
    return calls


def assert_told_once(table: CallTable) -> None:
    """Assert that nothing is left open, and that each channel is in one call."""
    channels = [leg.unique_id for call in assert_all_over(table) for leg in call.legs]
    assert len(channels) == len(set(channels))


@pytest.mark.parametrize(("name", "seed"), [("rich22", 1), ("rich22", 2), ("rich16", 3), ("rich16", 4)])
def test_lost_doubled_and_late_events(name: str, seed: int) -> None:
    dice = random.Random(seed)
    events = list(spoilt(shaped_all(snapshotted(name)), dice))
    table = folded(events, dice)
    whole = CallTable()
    for first in range(0, len(events), 997):
        whole.fold(events[first : first + 997])
    assert whole.rows == table.rows
    assert_told_once(table)


@pytest.mark.parametrize("loss", [0.001, 0.03, 0.3, 0.6])
def test_a_loss_of_any_part(loss: float) -> None:
    dice = random.Random(loss)
    assert_told_once(folded([e for e in shaped_all(snapshotted("rich22")) if dice.random() > loss], dice))


@pytest.mark.parametrize("name", NAMES)
def test_doubled_events_count_once(name: str) -> None:
    events = shaped_all(snapshotted(name))
    doubled = CallTable()
    for start in range(0, len(events), 500):
        doubled.fold([event for event in events[start : start + 500] for _ in range(2)])
    assert doubled.rows == table_of(name).rows


@pytest.mark.parametrize("reach", [2, 50, 2000])
def test_events_in_any_order(reach: int) -> None:
    dice = random.Random(reach)
    events = shaped_all(snapshotted("rich16"))
    windows = [events[start : start + reach] for start in range(0, len(events), reach)]
    assert_told_once(folded([event for window in windows for event in dice.sample(window, len(window))], dice))


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_members_of_other_events(share: float) -> None:
    """A member of some events has a value of another event, or none."""
    dice = random.Random(share)
    events = shaped_all(snapshotted("rich22"))
    assert_all_over(folded([mutated(e, events, dice) if dice.random() < share else e for e in events], dice))


def mutated(event: Any, events: Sequence[Any], dice: random.Random) -> Any:
    """Return the event with a value of another event of its type in one member, or with an empty one."""
    member = dice.choice([name for name in event.__struct_fields__ if name not in {"pbx", "position", "at"}])
    value = getattr(event, member)
    if type(value) not in {str, int, float}:
        return event
    donor = dice.choice(events)
    values = [one for name in donor.__struct_fields__ if type(one := getattr(donor, name)) is type(value)]
    return msgspec.structs.replace(event, **{member: dice.choice([*values, type(value)()])})


def test_a_phone_that_talked_had_answered() -> None:
    """Its DialEnd is lost."""
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="300")
    scene.ring(1, 2, "PJSIP/101-00000002", "101", linked=1).ring(1, 3, "PJSIP/102-00000003", "102", linked=1).wait(2)
    scene.state(2, UP).dial_end(1, 3, "CANCEL").hangup(3).state(1, UP).enter(2, "b").enter(1, "b").wait(5)
    call = scene.part(1, 2).call()
    assert [(r.outcome, round(r.seconds or 0)) for r in call.rings] == [("answered", 2), ("elsewhere", 2)]
