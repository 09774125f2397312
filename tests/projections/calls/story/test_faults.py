"""Events that are lost, doubled or swapped stop nothing, and a complete list leaves nothing open."""

import random

import pytest

from tests.support.calls import CallTable, shaped_all
from tests.support.folding import ListSnapshot
from tests.support.recorded_events import snapshotted
from tests.support.spoilt_events import spoilt


@pytest.mark.parametrize(("name", "seed"), [("rich22", 1), ("rich22", 2), ("rich16", 3), ("rich16", 4)])
def test_lost_doubled_and_late_events(name: str, seed: int) -> None:
    dice = random.Random(seed)
    events = list(spoilt(shaped_all(snapshotted(name)), dice))
    table, start = CallTable(), 0
    while start < len(events):
        size = dice.randint(1, 600)
        table.fold(events[start : start + size])
        start += size
        if dice.random() < 0.1:
            table.restart()
    whole = CallTable()
    for first in range(0, len(events), 997):
        whole.fold(events[first : first + 997])
    assert whole.rows == table.rows
    last = ListSnapshot("CoreShowChannels", epoch=99_999)
    calls = table.take(last.start, last.empty, last.over).calls(untold=True)
    assert len(calls) > 300
    for call in calls.values():
        assert (call.state, call.outcome is None) == ("ended", False)
        assert None not in [leg.ended_at for leg in call.legs]
        assert None not in [ring.outcome for ring in call.rings] + [passage.outcome for passage in call.queues]
        assert None not in [talk.ended_at for talk in call.conversations]
        assert None not in [hold.until for hold in call.holds] + [stay.until for stay in call.parks]
        assert None not in [stay.until for stay in call.conferences] + [one.ended_at for one in call.recordings]
        assert call.started_at <= (call.ended_at or call.started_at)
