"""Queues in situations that the recordings lack, or lack at the critical moment."""

import ctypes
from typing import Any

import pytest

from projections.queues.queue_averages import percent
from projections.queues.queue_entries import QUEUE_ENTRIES
from projections.queues.queue_members import QUEUE_MEMBERS
from projections.queues.queues import QUEUES
from schemas.log import NewEvent
from tests.support.folding import FoldSpec, ListSnapshot, block
from tests.support.queue_events import MODELS, abandon, call, entry, join, leave, member, order, queue


def test_a_caller_of_higher_priority_moves_those_behind() -> None:
    tables = FoldSpec(*MODELS).given(
        [join("a", 1, 1), join("b", 2, 2), join("vip", 1, 3), join("c", 4, 4), join("d", 3, 5)]
    )
    assert order(tables) == ["vip", "a", "d", "b", "c"]
    assert order(tables.given([leave("a", 2, 4)])) == ["vip", "d", "b", "c"]
    assert order(tables.given([leave("vip", 1, 3)])) == ["d", "b", "c"]


def test_queues_do_not_mix() -> None:
    other = block("QueueCallerJoin", Queue="r", Uniqueid="a", Channel="C/a", Position=1, Count=1)
    tables = FoldSpec(*MODELS).given([join("a", 1, 1), join("b", 2, 2), other, leave("a", 1, 1)])
    assert {key: row.position for key, row in tables.then(QUEUE_ENTRIES).items()} == {("q", "b"): 1, ("r", "a"): 1}


def test_late_events_before_the_list_change_nothing() -> None:
    snapshot = ListSnapshot("QueueStatus")
    tables = FoldSpec(*MODELS)
    # a, b, x joined; a left; c joined: all before Asterisk made the list; it sends these events after the list.
    late = [join("a", 1, 1), join("b", 2, 2), join("x", 3, 3), leave("a", 1, 2), join("c", 3, 3)]
    items = [entry(snapshot, "b", 1), entry(snapshot, "x", 2), entry(snapshot, "c", 3)]
    tables.given([snapshot.start, *items, *late, snapshot.end, snapshot.over])
    assert order(tables) == ["b", "x", "c"]


def test_a_late_join_moves_no_caller() -> None:
    snapshot = ListSnapshot("QueueStatus", at=1010.0)
    items = [entry(snapshot, "b", 1), entry(snapshot, "x", 2, wait=3), entry(snapshot, "c", 3)]
    tables = FoldSpec(*MODELS).given([snapshot.start, *items, join("x", 3, 3, at=1007.2)])
    assert order(tables) == ["b", "x", "c"]


def test_a_late_old_list_item_stops_no_sweep() -> None:
    old, new = ListSnapshot("QueueStatus", 1), ListSnapshot("QueueStatus", 2)
    tables = FoldSpec(*MODELS).given([join("gone", 1, 1), old.start, old.failed, old.over])
    tables.given([new.start, entry(old, "gone", 1), entry(new, "a", 1), new.end, new.over])
    assert order(tables) == ["a"]


def test_a_caller_leaving_during_a_list_stays_away() -> None:
    snapshot = ListSnapshot("QueueStatus")
    tables = FoldSpec(*MODELS)
    tables.given([snapshot.start, leave("a", 1, 1)])
    tables.given([entry(snapshot, "a", 1), entry(snapshot, "b", 2), snapshot.end, snapshot.over])
    assert order(tables) == ["b"]


def test_a_missing_caller_is_swept_after_moves() -> None:
    tables = FoldSpec(*MODELS).given([join("gone", 1, 1), join("a", 2, 2), join("b", 3, 3)])
    snapshot = ListSnapshot("QueueStatus")
    # During the gap "gone" left; now "vip" joins before the list arrives, and every position changes.
    tables.given([snapshot.start, join("vip", 1, 3)])
    tables.given(
        [entry(snapshot, "vip", 1), entry(snapshot, "a", 2), entry(snapshot, "b", 3), snapshot.end, snapshot.over]
    )
    assert order(tables) == ["vip", "a", "b"]


def test_listed_callers_precede_a_later_join() -> None:
    snapshot = ListSnapshot("QueueStatus", at=1030.0)
    tables = FoldSpec(*MODELS).given([snapshot.start, join("c", 3, 3, at=1029.5)])
    items = [entry(snapshot, "a", 1, wait=30), entry(snapshot, "b", 2, wait=7), entry(snapshot, "c", 3)]
    tables.given([*items, snapshot.end, snapshot.over])
    assert order(tables) == ["a", "b", "c"]
    waited = {row.unique_id: 1030 - row.joined.timestamp() for row in tables.then(QUEUE_ENTRIES).values()}
    assert waited == {"a": 30, "b": 7, "c": 0.5}


def test_a_failed_list_removes_no_caller() -> None:
    snapshot = ListSnapshot("QueueStatus")
    tables = FoldSpec(*MODELS).given([join("a", 1, 1), snapshot.start, snapshot.failed, snapshot.over])
    assert order(tables) == ["a"]
    assert order(tables.given([ListSnapshot("QueueStatus", 2).start, ListSnapshot("QueueStatus", 2).empty])) == []


def test_listed_unknown_names_read_as_in_events() -> None:
    snapshot = ListSnapshot("QueueStatus")
    item = snapshot.item(
        "QueueEntry", Queue="q", Uniqueid="a", Position=1, CallerIDName="unknown", ConnectedLineNum="unknown"
    )
    row = FoldSpec(*MODELS).given([snapshot.start, item]).then(QUEUE_ENTRIES)["q", "a"]
    assert (row.caller_id_name, row.connected_line_num) == ("<unknown>", "<unknown>")


def test_statistics_follow_each_call() -> None:
    snapshot = ListSnapshot("QueueStatus")
    tables = FoldSpec(*MODELS).given([snapshot.start, queue(snapshot), member(snapshot), snapshot.end, snapshot.over])
    tables.given(
        [call("AgentConnect", "a", HoldTime=8), call("AgentComplete", "a", at=1060.9, HoldTime=8, TalkTime=60)]
    )
    row = tables.then(QUEUES)["q",]
    assert (row.completed, row.hold_time, row.talk_time, row.service_level_perf) == (1, 8, 60, 100.0)
    tables.given([call("AgentConnect", "b", HoldTime=11), call("AgentComplete", "b", HoldTime=11, TalkTime=21)])
    row = tables.given([join("c", 1, 1), abandon("c"), leave("c", 1, 0)]).then(QUEUES)["q",]
    assert (row.completed, row.abandoned, row.hold_time, row.talk_time) == (2, 1, 8, 50)
    assert (row.service_level_perf, row.service_level_perf2) == (50.0, 66.7)
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].calls_taken == 2


def test_a_reset_clears_the_service_level_counts() -> None:
    snapshot = ListSnapshot("QueueStatus")
    tables = FoldSpec(*MODELS).given([snapshot.start, queue(snapshot), snapshot.end, snapshot.over])
    tables.given([event for n in range(3) for event in (join(f"{n}", 1, 1), abandon(f"{n}"), leave(f"{n}", 1, 0))])
    assert tables.then(QUEUES)["q",].service_level_perf2 == 100.0
    again = ListSnapshot("QueueStatus", 2)
    tables.given([again.start, queue(again), again.end, again.over])  # `queue reset stats` has no event
    row = tables.given([join("d", 1, 1), abandon("d"), leave("d", 1, 0)]).then(QUEUES)["q",]
    assert (row.abandoned, row.abandoned_in_level, row.service_level_perf2) == (1, 1, 100.0)


def test_a_members_call_counts_once_at_its_end() -> None:
    snapshot = ListSnapshot("QueueStatus")
    tables = FoldSpec(*MODELS).given([snapshot.start, queue(snapshot), member(snapshot), snapshot.end, snapshot.over])
    row = tables.given([call("AgentConnect", "a")]).then(QUEUE_MEMBERS)["q", "SIP/1"]
    assert (row.in_call, row.calls_taken) == (1, 0)
    complete = call("AgentComplete", "a", at=1060.9)
    row = tables.given([complete, complete]).then(QUEUE_MEMBERS)["q", "SIP/1"]
    assert (row.in_call, row.calls_taken, row.last_call) == (0, 1, 1060)
    assert tables.then(QUEUES)["q",].completed == 1


def test_an_old_device_state_ends_no_call() -> None:
    """Under load, Asterisk 22.10 sends after AgentConnect a state from before it marked the call."""

    def status(number: int, calls_taken: int = 0) -> NewEvent:
        defaults = {
            "Queue": "q",
            "Interface": "SIP/1",
            "MemberName": "Ann",
            "Status": number,
            "CallsTaken": calls_taken,
        }
        return block("QueueMemberStatus", 1001.0, **defaults, InCall=0)

    snapshot = ListSnapshot("QueueStatus")
    tables = FoldSpec(*MODELS).given([snapshot.start, queue(snapshot), member(snapshot), snapshot.end, snapshot.over])
    row = tables.given([status(6), call("AgentConnect", "a"), status(2)]).then(QUEUE_MEMBERS)["q", "SIP/1"]
    assert (row.status, row.in_call, row.calls_taken) == (2, 1, 0)
    free = tables.given([status(1, 1), call("AgentComplete", "a", at=1060.9)]).then(QUEUE_MEMBERS)["q", "SIP/1"]
    assert (free.status, free.in_call, free.calls_taken) == (1, 0, 1)


def test_only_the_later_of_simultaneous_calls_counts() -> None:
    # app_queue.c, update_queue: the member has one start time; the end of the other call is "considered terminated".
    snapshot = ListSnapshot("QueueStatus")
    tables = FoldSpec(*MODELS).given([snapshot.start, queue(snapshot), member(snapshot), snapshot.end, snapshot.over])
    tables.given([call("AgentConnect", "a", at=1000.0), call("AgentConnect", "b", at=1005.0)])
    tables.given([call("AgentComplete", "a", at=1010.0)])
    assert tables.then(QUEUES)["q",].completed == 0
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].in_call == 1
    tables.given([call("AgentComplete", "b", at=1020.0)])
    assert tables.then(QUEUES)["q",].completed == 1
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].calls_taken == 1


def test_a_call_older_than_the_link_counts() -> None:
    snapshot = ListSnapshot("QueueStatus")
    items = [queue(snapshot, Completed=4, TalkTime=10), member(snapshot, InCall=1, CallsTaken=4)]
    tables = FoldSpec(*MODELS).given([snapshot.start, *items, snapshot.end, snapshot.over])
    tables.given([call("AgentComplete", "a", TalkTime=30)])
    row = tables.then(QUEUES)["q",]
    assert (row.completed, row.talk_time) == (5, 15)
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].calls_taken == 5


def test_a_missed_call_does_not_affect_the_next() -> None:
    first, second = ListSnapshot("QueueStatus", 1), ListSnapshot("QueueStatus", 2)
    tables = FoldSpec(*MODELS).given([first.start, queue(first), member(first), first.end, first.over])
    tables.given([call("AgentConnect", "a")])
    # In a gap "a" ended and "b" was taken.
    items = [queue(second, Completed=1), member(second, InCall=1, CallsTaken=1)]
    tables.given([second.start, *items, second.end, second.over, call("AgentComplete", "b")])
    assert tables.then(QUEUES)["q",].completed == 2
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].calls_taken == 2


def test_a_listed_end_is_not_counted_again() -> None:
    first, second = ListSnapshot("QueueStatus", 1), ListSnapshot("QueueStatus", 2)
    tables = FoldSpec(*MODELS).given([first.start, queue(first), member(first), first.end, first.over])
    tables.given([call("AgentConnect", "a", HoldTime=1)])
    items = [queue(second, Completed=1, Holdtime=1, ServicelevelPerf="100.0", ServicelevelPerf2="100.0")]
    items += [member(second, CallsTaken=1, LastCall=1010)]
    late = call("AgentComplete", "a", at=1010.0, HoldTime=1)
    tables.given([second.start, *items, late, second.end, second.over])
    assert tables.then(QUEUES)["q",].completed == 1
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].calls_taken == 1


def test_a_listed_abandonment_is_not_counted_again() -> None:
    first, second = ListSnapshot("QueueStatus", 1), ListSnapshot("QueueStatus", 2)
    tables = FoldSpec(*MODELS).given(
        [first.start, queue(first), first.end, first.over, join("a", 1, 1), join("b", 2, 2)]
    )
    items = [queue(second, Calls=1, Abandoned=1, ServicelevelPerf2="100.0"), entry(second, "b", 1)]
    late = [abandon("a"), leave("a", 1, 1)]
    row = tables.given([second.start, *items, *late, second.end, second.over]).then(QUEUES)["q",]
    assert (row.abandoned, row.abandoned_in_level, row.calls) == (1, 1, 1)
    row = tables.given([abandon("b"), abandon("b"), leave("b", 1, 0)]).then(QUEUES)["q",]
    assert (row.abandoned, row.abandoned_in_level, row.calls) == (2, 2, 0)


def test_a_listed_hold_time_is_not_averaged_again() -> None:
    first, second = ListSnapshot("QueueStatus", 1), ListSnapshot("QueueStatus", 2)
    items = [queue(first, Abandoned=1, Holdtime=8), member(first)]
    tables = FoldSpec(*MODELS).given([first.start, *items, first.end, first.over])
    items = [queue(second, Abandoned=1, Holdtime=16), member(second, InCall=1)]
    tables.given([second.start, *items, second.end, second.over, call("AgentConnect", "a", HoldTime=40)])
    assert tables.then(QUEUES)["q",].hold_time == 16
    tables.given([call("AgentConnect", "b", "SIP/2", HoldTime=40)])
    assert tables.then(QUEUES)["q",].hold_time == 22


def test_a_missing_end_follows_from_the_members_status() -> None:
    # In 16.28 both channels had ended before app_queue checked them, so it sent no AgentComplete.
    snapshot = ListSnapshot("QueueStatus")
    tables = FoldSpec(*MODELS).given([snapshot.start, queue(snapshot), member(snapshot), snapshot.end, snapshot.over])
    tables.given([call("AgentConnect", "a", at=1000.5, HoldTime=12)])
    status = changed("QueueMemberStatus", InCall=0, CallsTaken=0, LastCall=990)  # from before the hangup
    assert tables.given([status]).then(QUEUES)["q",].completed == 0
    status = changed("QueueMemberStatus", InCall=0, CallsTaken=1, LastCall=1007)
    row = tables.given([status, status]).then(QUEUES)["q",]
    assert (row.completed, row.talk_time, row.hold_time, row.completed_in_level) == (1, 7, 12, 0)
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].calls_taken == 1


def test_a_reset_takes_effect_with_the_next_list() -> None:
    first, second = ListSnapshot("QueueStatus", 1), ListSnapshot("QueueStatus", 2)
    items = [queue(first, Completed=7, Abandoned=3, Holdtime=9, ServicelevelPerf="100.0"), member(first, CallsTaken=7)]
    tables = FoldSpec(*MODELS).given([first.start, *items, first.end, first.over, call("AgentConnect", "a")])
    tables.given([second.start, join("x", 1, 1), queue(second, Calls=1), member(second), second.end, second.over])
    row = tables.then(QUEUES)["q",]
    assert (row.completed, row.abandoned, row.hold_time, row.calls, row.service_level_perf) == (0, 0, 0, 1, 0.0)
    # Asterisk cleared the start of the call that lasted through the reset, so its end is not counted.
    tables.given([call("AgentComplete", "a")])
    assert tables.then(QUEUES)["q",].completed == 0
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].calls_taken == 0


def test_service_level_counts_follow_from_the_list() -> None:
    snapshot = ListSnapshot("QueueStatus")
    item = queue(snapshot, Completed=9, Abandoned=17, ServicelevelPerf="88.9", ServicelevelPerf2="92.3")
    row = FoldSpec(*MODELS).given([snapshot.start, item]).then(QUEUES)["q",]
    assert (row.completed_in_level, row.abandoned_in_level) == (8, 16)


def test_two_members_may_share_a_name() -> None:
    snapshot = ListSnapshot("QueueStatus")
    items = [member(snapshot, "SIP/1", Penalty=1), member(snapshot, "SIP/2", Penalty=2)]
    tables = FoldSpec(*MODELS).given([snapshot.start, queue(snapshot), *items, snapshot.end, snapshot.over])
    assert {key: row.penalty for key, row in tables.then(QUEUE_MEMBERS).items()} == {
        ("q", "SIP/1"): 1,
        ("q", "SIP/2"): 2,
    }


def changed(event: str, **headers: Any) -> NewEvent:
    return block(event, Queue="q", MemberName="Ann", Interface="SIP/1", **headers)


def test_an_unpause_with_a_reason_leaves_no_reason() -> None:
    tables = FoldSpec(*MODELS).given([changed("QueueMemberPause", Paused=1, PausedReason="lunch", LastPause=5)])
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].paused_reason == "lunch"
    tables.given([changed("QueueMemberPause", Paused=0, PausedReason="back", Reason="back", LastPause=5)])
    row = tables.then(QUEUE_MEMBERS)["q", "SIP/1"]
    assert (row.paused, row.paused_reason, row.last_pause) == (0, "", 5)


def test_a_list_keeps_ringinuse() -> None:
    snapshot = ListSnapshot("QueueStatus")
    tables = FoldSpec(*MODELS).given(
        [changed("QueueMemberRinginuse", Ringinuse=0), snapshot.start, member(snapshot), snapshot.end]
    )
    assert tables.then(QUEUE_MEMBERS)["q", "SIP/1"].ring_inuse == 0


def test_a_member_removed_during_a_list_stays_away() -> None:
    snapshot = ListSnapshot("QueueStatus")
    tables = FoldSpec(*MODELS).given(
        [snapshot.start, changed("QueueMemberRemoved"), member(snapshot), snapshot.end, snapshot.over]
    )
    assert tables.then(QUEUE_MEMBERS) == {}


@pytest.mark.parametrize("bad", ["x", "9" * 40])
def test_an_invalid_number_is_rejected(bad: str) -> None:
    events = [block("QueueCallerJoin", Queue="q", Uniqueid="a", Position=bad, Count=1), join("b", 1, 1)]
    tables = FoldSpec(*MODELS).given(events)
    assert {(position, name) for position, name, _ in tables.rejected} == {(1, "QueueCallerJoin")}
    assert order(tables) == ["b"]


def test_odd_values_do_not_stop_a_model() -> None:
    snapshot = ListSnapshot("QueueStatus")
    odd = [join("a", -5, 0), join("b", 2**62, 2), entry(snapshot, "c", 0, wait=-1), entry(snapshot, "d", 3, wait=2**62)]
    bad: list[dict[str, Any]] = [{"Completed": -3}, {"Completed": 2**63 - 1}]
    bad += [{"ServicelevelPerf": "nan"}, {"ServicelevelPerf2": "inf"}]
    odd += [queue(snapshot, **headers) for headers in bad]
    tables = FoldSpec(*MODELS).given([snapshot.start, *odd])
    assert order(tables) == ["c", "a", "d", "b"]
    assert {(position, name) for position, name, _ in tables.rejected} == {(n, "QueueParams") for n in range(6, 10)}


def test_percentages_equal_those_that_c_prints() -> None:
    libc = ctypes.CDLL(None)
    text = ctypes.create_string_buffer(32)
    for whole in (*range(1, 260), 1000, 4096, 65521, 16777213):
        for part in {0, 1, whole // 3, whole // 2, whole * 2 // 3, whole - 1, whole}:
            ratio = ctypes.c_float(ctypes.c_float(part).value / ctypes.c_float(whole).value)
            libc.snprintf(text, 32, b"%2.1f", ctypes.c_double(ctypes.c_float(100 * ratio.value).value))
            assert percent(part, whole) == float(text.value), (part, whole)
