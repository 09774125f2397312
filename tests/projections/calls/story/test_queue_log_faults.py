"""Files of queue_log with missing, doubled and disordered lines: the machine never stops, and stays bounded."""

import random

import pytest

from projections.calls.story import log_calls
from schemas.log import NewEvent
from tests.captures import truth
from tests.support.calls import CallTable, reasons, shaped_all
from tests.support.queue_log_events import queue_log_event, queue_log_events
from tests.support.recorded_events import cut, snapshotted
from tests.support.scene import Scene


def damaged(name: str, dice: random.Random) -> list[NewEvent]:
    """Lose some lines, double others, and change the places of neighbours."""
    events = queue_log_events(truth(name, "queue_log"))
    events = [event for event in events for _ in range(dice.choice((0, 1, 1, 1, 1, 1, 2)))]
    for _ in range(40):
        place = dice.randrange(len(events) - 5)
        events[place : place + 5] = dice.sample(events[place : place + 5], 5)
    return events


@pytest.mark.parametrize("seed", range(8))
def test_damaged_files_give_the_same_at_any_cut(seed: int) -> None:
    dice = random.Random(seed)
    events = damaged("rich22", dice)
    if seed % 2:
        ami = [event for event in snapshotted("rich22") if dice.random() < 0.9]
        place = dice.randrange(len(ami))
        events = [*ami[:place], *events, *ami[place:]]
    shaped = shaped_all(events)
    whole, table = CallTable().fold(shaped), CallTable()
    for batch in cut(shaped, 300, seed):
        table.fold(batch)
        table.restart()
    assert table.rows == whole.rows
    calls = whole.calls()
    ids = [one for call in calls.values() for one in (call.linkedid, *call.aliases)]
    assert len(ids) == len(set(ids))
    for call in calls.values():
        if call.state == "ended":
            assert None not in {passage.outcome for passage in call.queues}
        assert all((q.wait_seconds or 0) >= 0 and (q.talk_seconds or 0) >= 0 for q in call.queues)


def test_open_calls_of_a_file_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_calls, "MOST_OPEN", 3)
    lines = [f"{1795309000 + n}|1795309000.{n}|sales|NONE|ENTERQUEUE||555|{n + 1}" for n in range(5)]
    table = CallTable()
    for line in lines:
        table.take(queue_log_event(line)).restart()
    calls = table.calls()
    assert [call.state for call in calls.values()] == ["ended", "ended", "waiting", "waiting", "waiting"]
    assert reasons(calls["1795309000.0"]) == ["lost"]
    assert [passage.outcome for passage in calls["1795309000.0"].queues] == ["unknown"]


def test_a_call_that_was_lost_may_go_on() -> None:
    """The end of Asterisk's last run was written after its next start, or the files were imported in another order."""
    table = CallTable().take(
        queue_log_event("1795309001|1795309000.1|sales|NONE|ENTERQUEUE||555|1"),
        queue_log_event("1795309050|NONE|NONE|NONE|QUEUESTART|"),
        queue_log_event("1795309060|1795309000.1|support|NONE|ENTERQUEUE||555|1"),
        queue_log_event("1795309070|1795309000.1|support|NONE|ABANDON|1|1|10"),
    )
    call = table.call()
    assert [(q.queue, q.outcome) for q in call.queues] == [("sales", "unknown"), ("support", "abandoned")]
    assert (call.complete, reasons(call)) == (False, ["lost"])


def test_a_list_ends_a_call_of_the_file() -> None:
    """A snapshot may come between two parts of a file, so it is the second one after the call's last line."""
    entry = queue_log_event("1795309001|1795309000.1|sales|NONE|ENTERQUEUE||555|1")
    end = queue_log_event("1795309009|1795309000.1|sales|NONE|ABANDON|1|1|8")
    table = CallTable().take(entry)
    table.take(Scene().snapshot(epoch=7).events).restart()
    assert (table.call().state, reasons(table.call())) == ("waiting", [])
    assert CallTable().take(entry, Scene().snapshot(epoch=7).events, end).call().complete
    table.take(Scene().snapshot(epoch=8).events).restart()
    call = table.call()
    assert (call.state, call.outcome, reasons(call)) == ("ended", "unknown", ["lost"])
    assert call.ended_at is not None
    assert call.ended_at.timestamp() == 1795309001
