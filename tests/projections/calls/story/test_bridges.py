"""Conversations, and the channels that are one call."""

import pytest

from projections.calls.story.ids import by_age
from schemas.calls import Call
from tests.support.scene import CONFERENCE, HOLDING, UP, Scene, uid


def talks(call: Call) -> list[tuple[list[str | None], int]]:
    return [([p.number for p in talk.parties], round(talk.seconds or 0)) for talk in call.conversations]


def test_a_local_pair_is_transparent() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="300")
    scene.local(2, 3, "Local/101@group-0001", linked=1, optimize="No").dial(1, 2)
    scene.ring(3, 4, "PJSIP/101-00000004", "101", linked=1).answer(3, 4, "b2").answer(1, 2, "b1").wait(6)
    scene.request(1).leave(1, "b1").leave(2, "b1").leave(3, "b2").leave(4, "b2")
    call = scene.hangup(1, 2, 3, 4).call()
    assert talks(call) == [(["100", "101"], 6)]
    assert [leg.local for leg in call.legs] == [False, True, True, False]
    assert [p.number for p in call.parties] == ["100", "101"]


def test_an_optimised_local_pair_changes_nothing() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="300")
    scene.local(2, 3, "Local/101@group-0001", linked=1).dial(1, 2)
    scene.ring(3, 4, "PJSIP/101-00000004", "101", linked=1).answer(3, 4, "b2").answer(1, 2, "b1").wait(2)
    scene.leave(4, "b2").leave(2, "b1").enter(4, "b1", swap=2).leave(3, "b2").hangup(2, 3).wait(4)
    call = scene.part(1, 4, bridge="b1").call()
    assert talks(call) == [(["100", "101"], 6)]


def test_a_lapse_of_a_second_is_none() -> None:
    scene = Scene().talk(3).leave(2, "b").wait(0.9).enter(2, "b").wait(3)
    assert talks(scene.part(1, 2).call()) == [(["100", "101"], 7)]
    scene = Scene().talk(3).leave(2, "b").wait(1.5).enter(2, "b").wait(3)
    assert talks(scene.part(1, 2).call()) == [(["100", "101"], 3), (["100", "101"], 3)]


def test_every_change_of_persons_is_a_new_conversation() -> None:
    scene = Scene().talk(3).ring(1, 3, "PJSIP/102-00000003", "102", linked=1).state(3, UP)
    scene.enter(3, "b").wait(2).leave(2, "b").hangup(2).wait(4)
    call = scene.part(1, 3).call()
    assert talks(call) == [(["100", "101"], 3), (["100", "101", "102"], 2), (["100", "102"], 4)]
    assert round(call.talk_seconds) == 9
    assert [round(p.talk_seconds) for p in call.parties] == [9, 5, 6]


def test_a_holding_bridge_is_no_conversation() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="1").new(2, "PJSIP/101-00000002", "101", exten="1")
    scene.enter(1, "h", **HOLDING).enter(2, "h", **HOLDING).wait(5).leave(1, "h", **HOLDING).leave(2, "h", **HOLDING)
    calls = scene.hangup(1, 2).calls()
    assert [(talks(call), call.outcome) for call in calls.values()] == [([], "pbx_only"), ([], "pbx_only")]


def test_a_conference_merges_no_calls() -> None:
    scene = Scene()
    for number in (1, 2, 3):
        scene.new(number, f"PJSIP/10{number}-0000000{number}", f"10{number}", exten="400").state(number, UP)
        scene.enter(number, "c", **CONFERENCE).wait(2)
    for number in (1, 2, 3):
        scene.request(number).leave(number, "c", **CONFERENCE).hangup(number).wait(1)
        scene.emit("ConfbridgeLeave", **scene.shown(number), Conference="8000")
    calls = scene.calls()
    assert list(calls) == [uid(1), uid(2), uid(3)]
    assert talks(calls[uid(1)]) == [(["101", "102"], 2), (["101", "102", "103"], 2)]
    assert talks(calls[uid(3)]) == [(["103", "101", "102"], 2), (["103", "102"], 1)]
    assert [talk.conference for talk in calls[uid(3)].conversations] == ["8000", "8000"]
    (stay,) = calls[uid(2)].conferences
    assert (stay.name, stay.party.number, stay.until is not None) == ("8000", "102", True)
    assert [p.number for p in calls[uid(1)].parties] == ["101"]


@pytest.mark.parametrize("kind", ["basic", "stasis"])
def test_calls_in_one_bridge_become_the_oldest(kind: str) -> None:
    scene = Scene().new(10, "PJSIP/100-0000000a", "100", exten="1").new(9, "PJSIP/101-00000009", "101", exten="1")
    scene.state(9, UP).state(10, UP).enter(10, "b", BridgeType=kind).enter(9, "b", BridgeType=kind).wait(2)
    call = scene.part(9, 10, linked=9).call()
    assert (call.linkedid, call.aliases) == (uid(9), [uid(10)])
    assert [leg.linkedids for leg in call.legs] == [[uid(10), uid(9)], [uid(9)]]
    assert talks(call) == [(["100", "101"], 2)]


def test_an_event_with_another_linked_id_merges() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="1").new(2, "PJSIP/101-00000002", "101", exten="1")
    call = scene.link(1, 2).state(2, UP).hangup(1).wait(3).hangup(2).call()
    assert (call.linkedid, call.aliases, len(call.legs)) == (uid(1), [uid(2)], 2)
    assert round(call.duration_seconds or 0) == 3


def test_ids_are_numbers_after_a_system_name() -> None:
    ids = ["pbx-a-1795309031.10", "1795309031.9", "pbx-a-99.400", "odd"]
    assert sorted(ids, key=by_age) == ["pbx-a-99.400", "1795309031.9", "pbx-a-1795309031.10", "odd"]


def test_a_call_ends_with_its_last_channel() -> None:
    scene = Scene().talk(3).leave(1, "b").hangup(1).wait(10)
    assert scene.call().state == "pbx"
    call = scene.leave(2, "b").hangup(2).call()
    assert (call.state, round(call.duration_seconds or 0)) == ("ended", 15)


def test_states_of_a_call_that_lasts() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    assert scene.call().state == "pbx"
    scene.new(2, "PJSIP/101-00000002", "101", linked=1).dial(1, 2)
    assert scene.call().state == "dialling"
    assert scene.state(2, 5).call().state == "ringing"
    assert scene.answer(1, 2, "b").call().state == "talking"
    assert scene.emit("Hold", **scene.shown(1)).call().state == "held"
    call = scene.emit("Unhold", **scene.shown(1)).call()
    assert (call.state, call.ended_at, call.outcome, call.hangup, call.duration_seconds) == (
        "talking",
        None,
        None,
        None,
        None,
    )


def test_a_rename_keeps_the_channel() -> None:
    scene = Scene().new(1, "SIP/100-00000001", "100", exten="1")
    for name in ("SIP/100-00000001<MASQ>", "SIP/200-00000002", "SIP/200-00000002<ZOMBIE>"):
        scene.emit("Rename", Channel="x", Newname=name, Uniqueid=uid(1))
    call = scene.hangup(1).call()
    assert call.caller is not None
    assert (call.caller.channel, call.caller.endpoint) == ("SIP/200-00000002", "SIP/200")
