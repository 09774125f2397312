"""The first list after a gap shows what has changed on open calls while there was no link."""

from collections.abc import Callable

import pytest

from schemas.calls import Call
from schemas.log import Connected, Disconnected, SnapshotListed
from tests.projections.calls.story.scenes import MEMBER, parked, queue, rung, talks, waiting
from tests.support.calls import CallTable, reasons
from tests.support.folding import ListSnapshot, own
from tests.support.scene import CONFERENCE, UP, Scene, uid


def away(scene: Scene, seconds: float = 3) -> Scene:
    """Lose the link for some seconds."""
    return scene.own(Disconnected("eof", scene.now)).wait(seconds).own(Connected("127.0.0.1:5038"))


def listed(scene: Scene, bridge: str, *channels: int, application: str = "Dial", data: str = "") -> Scene:
    """Append a list of channels that are up in a bridge."""
    place = {"BridgeId": bridge, "Application": application, "ApplicationData": data, "ChannelState": UP}
    for channel in channels:
        scene.channels[channel] |= place
    return scene.snapshot(*channels).wait(10)


def ringing() -> Scene:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    return scene.ring(1, 2, "PJSIP/101-00000002", "101", linked=1).wait(2)


def test_a_call_answered_in_a_gap_talks() -> None:
    scene = listed(away(ringing()), "b", 1, 2)
    assert scene.call().state == "talking"
    call = scene.part(1, 2).call()
    assert (call.outcome, talks(call), [r.outcome for r in call.rings]) == ("answered", [["100", "101"]], ["answered"])
    assert (round(call.talk_seconds), call.complete) == (10, False)


def test_a_call_that_rings_after_a_gap_rings() -> None:
    scene = away(ringing()).snapshot(1, 2)
    assert scene.call().state == "ringing"
    assert [r.outcome for r in scene.dial_end(1, 2, "NOANSWER").hangup(2, 1).call().rings] == ["no_answer"]


def test_events_after_a_gap_count_before_its_list() -> None:
    """An item may be older than an event that came before it."""
    scene = away(Scene().talk(3)).leave(2, "b")
    call = listed(scene, "b", 1, 2).hangup(2, 1).call()
    assert [round(talk.seconds or 0) for talk in call.conversations] == [6]


def test_a_transfer_in_a_gap_changes_the_partner() -> None:
    scene = away(Scene().talk(3).new(3, "PJSIP/102-00000003", "102", exten="1").state(3, UP)).link(1, 3)
    call = listed(scene, "b2", 2, 3).part(2, 3, bridge="b2").call()
    assert (call.linkedid, call.aliases) == (uid(1), [uid(3)])
    assert talks(call) == [["100", "101"], ["101", "102"]]
    assert [leg.ended_at is not None for leg in call.legs] == [True] * 3


def test_a_conference_in_a_gap_has_its_name() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="400").state(1, UP)
    scene.new(2, "PJSIP/101-00000002", "101", exten="400").state(2, UP)
    scene = listed(away(scene), "c", 1, 2, application="ConfBridge", data="8000,default")
    scene.leave(1, "c", **CONFERENCE).hangup(1).leave(2, "c", **CONFERENCE).hangup(2)
    calls = scene.calls()
    assert list(calls) == [uid(1), uid(2)]
    for call in calls.values():
        assert [(talk.conference, round(talk.seconds or 0)) for talk in call.conversations] == [("8000", 10)]
        assert [(stay.name, stay.until is not None) for stay in call.conferences] == [("8000", True)]


def left_queue() -> Scene:
    """Let a caller who waited before the gap run another application after it; his wait ends with its last event."""
    scene = away(waiting())
    scene.channels[1] |= {"ChannelState": UP, "Application": "Playback"}
    return scene.snapshot(1).wait(5).request(1).hangup(1)


def served() -> Scene:
    """Let a member answer in the gap, and complete the call after it."""
    scene = listed(away(rung(waiting())), "b", 1, 2, application="Queue")
    return queue(scene, "AgentComplete", 1, 2, **MEMBER, HoldTime=14, TalkTime=12, Reason="caller").part(1, 2)


@pytest.mark.parametrize(
    ("scene", "outcome", "wait", "talk"),
    [(left_queue, "unknown", 0, None), (served, "answered", 14, 12)],
)
def test_a_wait_ends_in_a_gap(scene: Callable[[], Scene], outcome: str, wait: int, talk: int | None) -> None:
    table = CallTable().take(scene().events)
    (passage,) = scene().call().queues
    assert (passage.outcome, passage.wait_seconds, passage.talk_seconds) == (outcome, wait, talk)
    rings = [(ring["agent"], ring["outcome"]) for row in table.read() for ring in row.agent_rings]
    assert rings == ([] if talk is None else [("Bob Baker", "answered")])


def test_a_parked_call_is_retrieved_in_a_gap() -> None:
    scene = parked(Scene().talk(3)).new(3, "PJSIP/102-00000003", "102", exten="701").state(3, UP)
    call: Call = listed(away(scene).link(1, 3), "b2", 2, 3).part(3, 2, bridge="b2").call()
    assert [(stay.outcome, stay.until is not None) for stay in call.parks] == [(None, True)]
    assert talks(call) == [["100", "101"], ["101", "102"]]


def test_an_agent_talks_in_the_first_list() -> None:
    scene = Scene().new(1, "PJSIP/104-00000001", "104", exten="1", state=UP)
    scene.new(2, "PJSIP/109-00000002", "109", exten="600", state=UP)
    scene.events.clear()
    scene.channels[1] |= {"BridgeId": "b", "Application": "AgentLogin", "ApplicationData": "1001"}
    scene.channels[2] |= {"BridgeId": "b", "Application": "Queue"}
    calls = scene.wait(30).snapshot(1, 2).wait(5).leave(2, "b").hangup(2).calls()
    assert (talks(calls[uid(2)]), calls[uid(1)].conversations) == ([["109", "104"]], [])


@pytest.mark.parametrize(("hours", "state"), [(23, "ringing"), (25, "ended")])
def test_a_refused_list_ends_calls_a_day_later(hours: int, state: str) -> None:
    """Nothing else can show that a call ended in the gap."""
    scene = away(ringing()).wait(hours * 3600)
    listing = ListSnapshot("CoreShowChannels", 7, scene.now)
    refused = own(SnapshotListed(7, "CoreShowChannels", "refused", "Permission denied"), scene.now)
    scene.events += [listing.start, refused, listing.over]
    call = scene.call()
    assert (call.state, call.outcome) == (state, "unknown" if state == "ended" else None)
    assert reasons(call) == ["disconnected", "lost"][: 1 + (state == "ended")]


def test_local_halves_of_the_first_list_are_paired() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="300", state=UP)
    scene.local(2, 3, "Local/101@group-0001", linked=1, optimize="No")
    scene.new(4, "PJSIP/101-00000004", "101", linked=1, state=UP)
    scene.events.clear()
    for bridge, channels in {"b1": (1, 2), "b2": (3, 4)}.items():
        for channel in channels:
            scene.channels[channel] |= {"BridgeId": bridge, "Application": "Dial", "ChannelState": UP}
    scene.wait(30).snapshot(1, 2, 3, 4).wait(5).leave(4, "b2").leave(3, "b2").leave(2, "b1").leave(1, "b1")
    call = scene.hangup(4, 3, 2, 1).call()
    assert [([p.number for p in t.parties], round(t.seconds or 0)) for t in call.conversations] == [(["100", "101"], 5)]


def waiting_since_before() -> Scene:
    """List a caller who has waited for 20 seconds at the first list."""
    scene = Scene().new(1, "PJSIP/trunk-00000001", "5550101", exten="600", state=UP)
    scene.events.clear()
    scene.channels[1] |= {"Application": "Queue", "ApplicationData": "sales,t"}
    scene.wait(30).snapshot(1)
    listing = ListSnapshot("QueueStatus", 8, scene.now)
    scene.events += [listing.start, listing.item("QueueEntry", Queue="sales", Uniqueid=uid(1), Position=1, Wait=20)]
    scene.events += [listing.end, listing.over]
    del scene.channels[1]["Application"], scene.channels[1]["ApplicationData"]
    return scene.wait(5)


def test_a_caller_of_the_first_list_waits() -> None:
    scene = waiting_since_before()
    assert scene.call().state == "waiting"
    queue(scene.request(1), "QueueCallerAbandon", HoldTime=25)
    (passage,) = queue(scene, "QueueCallerLeave").hangup(1).call().queues
    assert (passage.outcome, passage.wait_seconds, passage.party and passage.party.number) == (
        "abandoned",
        25,
        "5550101",
    )
    assert passage.left_at is not None
    assert round((passage.left_at - passage.entered_at).total_seconds()) == 25


def test_a_listed_caller_leaves_by_key() -> None:
    """No event of his end has his wait."""
    scene = queue(waiting_since_before(), "QueueCallerLeave").run(1, "Goto", exten="9").hangup(1)
    assert [(q.outcome, q.key, q.wait_seconds) for q in scene.call().queues] == [("exit_key", "9", 25)]
