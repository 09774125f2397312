"""Calls in gaps and restarts, and events that are late, doubled or missing."""

from datetime import UTC, datetime, timedelta

from schemas.log import Connected, Disconnected
from tests.support.calls import CallTable
from tests.support.scene import RINGING, UP, Scene, uid


def time_of(scene: Scene) -> datetime:
    return datetime.fromtimestamp(round(scene.now, 6), UTC)


def test_a_call_up_at_the_first_list() -> None:
    scene = Scene()
    for channel, number in ((1, "100"), (2, "101")):
        scene.channels[channel] = {
            "Channel": f"PJSIP/{number}-0000000{channel}",
            "ChannelState": UP,
            "CallerIDNum": number,
            "Uniqueid": f"1795308970.{channel}",
            "Linkedid": "1795308970.1",
        }
    start = time_of(scene)
    scene.snapshot(1, 2).wait(5)
    call = scene.hangup(2, 1).call()
    assert (call.linkedid, call.complete) == ("1795308970.1", False)
    (gap,) = call.gaps
    assert (gap.reason, gap.from_, gap.until) == ("joined", None, start)
    assert (round(call.duration_seconds or 0), [p.number for p in call.parties]) == (35, ["100", "101"])


def test_channels_bridged_in_the_first_list_talk() -> None:
    scene = Scene()
    for channel, number in ((1, "100"), (2, "101")):
        scene.new(channel, f"PJSIP/{number}-0000000{channel}", number, linked=1, state=UP)
        scene.channels[channel] |= {"BridgeId": "b", "Application": "Dial"}
    scene.events.clear()
    scene.wait(30).snapshot(1, 2).wait(5)
    call = scene.part(1, 2).call()
    assert [([p.number for p in t.parties], round(t.seconds or 0)) for t in call.conversations] == [(["100", "101"], 5)]
    assert (call.outcome, call.complete) == ("answered", False)


def test_the_pbxs_clock_counts_where_it_is_ahead() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="210", state=UP)
    scene.events.clear()
    scene.wait(-600).snapshot(1).wait(660)
    assert round(scene.hangup(1).call().duration_seconds or 0) == 60


def test_a_leg_of_a_call_that_began_before() -> None:
    scene = Scene().wait(30).new(5, "PJSIP/101-00000005", "101", linked=1)
    call = scene.state(5, RINGING).hangup(5).call()
    assert (call.linkedid, call.complete) == (uid(1), False)


def test_a_gap_marks_open_calls() -> None:
    scene = Scene().talk(3)
    last = time_of(scene) - timedelta(seconds=1)
    scene.own(Disconnected("eof", last.timestamp())).own(Disconnected("eof", last.timestamp())).wait(3)
    lasting = scene.call()
    assert [(gap.reason, gap.from_, gap.until) for gap in lasting.gaps] == [("disconnected", last, None)]
    connected = time_of(scene)
    call = scene.own(Connected("127.0.0.1:5038")).snapshot(1, 2).wait(2).part(1, 2).call()
    assert (call.complete, call.outcome) == (False, "answered")
    assert [(gap.reason, gap.from_, gap.until) for gap in call.gaps] == [("disconnected", last, connected)]


def test_a_link_may_end_without_its_event() -> None:
    scene = Scene().talk(3)
    connected = time_of(scene)
    call = scene.own(Connected("127.0.0.1:5038")).snapshot(1, 2).part(1, 2).call()
    assert [(gap.reason, gap.from_, gap.until) for gap in call.gaps] == [("disconnected", None, connected)]


def test_each_gap_of_a_call_has_its_times() -> None:
    scene = Scene().talk(3)
    for _ in range(3):
        scene.own(Disconnected("eof", time_of(scene).timestamp())).wait(3).own(Connected("127.0.0.1:5038"))
        scene.snapshot(1, 2).wait(60)
    call = scene.part(1, 2).call()
    spans = [round((gap.until - gap.from_).total_seconds()) for gap in call.gaps if gap.until and gap.from_]
    assert (spans, call.complete) == ([3, 3, 3], False)


def test_a_list_ends_what_it_lacks() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    scene.ring(1, 2, "PJSIP/101-00000002", "101", linked=1).wait(60)
    call = scene.own(Connected("127.0.0.1:5038")).snapshot().call()
    assert (call.state, call.outcome, call.complete) == ("ended", "unknown", False)
    assert [gap.reason for gap in call.gaps] == ["disconnected", "lost"]
    assert (call.gaps[1].from_, call.gaps[1].until) == (call.ended_at, time_of(scene))
    assert [(r.outcome, r.ended_at is not None) for r in call.rings] == [("cancelled", True)]
    assert (call.hangup, round(call.duration_seconds or 0)) == (None, 0)


def test_a_lost_call_that_was_answered_stays_answered() -> None:
    call = Scene().talk(3).snapshot().call()
    assert (call.outcome, call.complete, call.conversations[0].ended_at is not None) == ("answered", False, True)


def test_a_list_that_is_not_complete_ends_nothing() -> None:
    scene = Scene().talk(3)
    scene.snapshot()
    failed = [event for event in scene.events if event.name != "SnapshotListed"]
    assert CallTable().take(failed).call().state == "talking"


def test_a_channel_of_the_time_of_a_list() -> None:
    scene = Scene().talk(3).snapshot(1, 2)
    *before, listed, over = scene.events
    during = Scene()
    during.now = scene.now
    during.new(3, "PJSIP/102-00000003", "102", exten="1")
    scene.part(1, 2)
    table = CallTable().take(before[:-2]).take(during.events).take(scene.events[len(before) + 2 :])
    calls = table.take(before[-2:]).take(listed, over).calls()
    assert {linkedid: call.state for linkedid, call in calls.items()} == {uid(1): "ended", uid(3): "pbx"}


def test_a_list_of_known_channels_writes_nothing() -> None:
    scene = Scene().talk(3)
    table = CallTable().take(scene.events)
    scene.events.clear()
    writes = table.writes
    assert table.take(scene.snapshot(1, 2).events).writes == writes


def test_late_and_unknown_events_change_nothing() -> None:
    scene = Scene().talk(3).part(1, 2)
    table = CallTable().take(scene.events)
    before = dict(table.rows)
    late = Scene()
    late.channels, late.now = scene.channels, scene.now
    late.hangup(1, 2, 1).state(2, UP).leave(1, "b").enter(2, "b").dial_end(1, 2, "ANSWER").dial(1, 2).request(1)
    late.var(1, "QUEUESTATUS", "TIMEOUT").run(1, "VoiceMail", "100").emit("Hold", **late.shown(1))
    late.emit("QueueCallerLeave", **late.shown(1), Queue="sales").emit("AgentConnect", **late.shown(1), Queue="sales")
    late.emit("ParkedCall", **late.shown(1, "Parkee")).emit("Pickup", **late.shown(1), **late.shown(2, "Target"))
    late.emit("BlindTransfer", Result="Success", **late.shown(1, "Transferer")).emit("MixMonitorStop", **late.shown(1))
    late.emit("AttendedTransfer", Result="Success", **late.shown(1, "OrigTransferer"))
    late.emit("Newchannel", **late.shown(1))
    assert table.take(late.events).rows == before
    for event in late.events:
        table.take(event).restart()
    assert table.rows == before
