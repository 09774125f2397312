"""Pickups, by their event and without it."""

from typing import Any

from schemas.calls import Call
from tests.projections.calls.story.scenes import talks
from tests.support.scene import UP, Scene, uid


def test_pickup() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    scene.ring(1, 2, "PJSIP/101-00000002", "101", linked=1).wait(2)
    scene.new(3, "PJSIP/102-00000003", "102", exten="*8101").state(3, UP)
    scene.emit("Pickup", **scene.shown(3), **scene.shown(2, "Target")).dial_end(1, 3, "ANSWER").hangup(2, cause=26)
    scene.enter(3, "b").enter(1, "b").link(1, 3).wait(2)
    picked(scene.part(1, 3).call())


def test_pickup_without_its_event() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    scene.ring(1, 2, "PJSIP/101-00000002", "101", linked=1).wait(2)
    scene.new(3, "PJSIP/102-00000003", "102", exten="*8101").state(3, UP).dial_end(1, 2, "CANCEL").dial(1, 3)
    scene.dial_end(1, 3, "ANSWER").hangup(2, cause=26).enter(3, "b").enter(1, "b").link(1, 3).wait(2)
    picked(scene.part(1, 3).call())


def picked(call: Call) -> None:
    assert (call.linkedid, call.aliases) == (uid(1), [uid(3)])
    assert [(p.by.number, p.of.number) for p in call.pickups] == [("102", "101")]
    assert [(r.to.number, r.outcome) for r in call.rings] == [("101", "picked_up")]
    assert (call.answered_by and call.answered_by.number, talks(call)) == ("102", [["100", "102"]])


def group(*ends: int) -> Scene:
    """Let 100 ring three phones (channels 2 to 4); 109 (channel 5) takes the call, and these phones have a DialEnd."""
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="300")
    for phone, number in ((2, "101"), (3, "102"), (4, "103")):
        scene.ring(1, phone, f"PJSIP/{number}-0000000{phone}", number, linked=1)
    scene.wait(2).new(5, "PJSIP/109-00000005", "109", exten="*8").state(5, UP)
    for phone in ends:
        scene.dial_end(1, phone, "CANCEL")
    return scene


def taken(scene: Scene) -> tuple[Any, ...]:
    call = scene.hangup(2, 3, 4, cause=26).enter(5, "b").enter(1, "b").link(1, 5).wait(2).part(1, 5).call()
    return [(p.by.number, p.of.number) for p in call.pickups], [(r.to.number, r.outcome) for r in call.rings]


def test_a_phone_of_a_group_is_picked_up() -> None:
    """Without the event, the target is the phone that has no DialEnd, or that was cancelled before the new dial."""
    rings = [("101", "picked_up"), ("102", "elsewhere"), ("103", "elsewhere")]
    story = ([("109", "101")], rings)
    assert taken(group(3, 4).dial_end(1, 5, "ANSWER")) == story
    assert (
        taken(group(2).dial(1, 5).dial_end(1, 3, "CANCEL").dial_end(1, 4, "CANCEL").dial_end(1, 5, "ANSWER")) == story
    )
    scene = group()
    assert taken(scene.emit("Pickup", **scene.shown(5), **scene.shown(2, "Target")).dial_end(1, 5, "ANSWER")) == story
    scene = group().dial_end(1, 5, "ANSWER")
    assert taken(scene.emit("Pickup", **scene.shown(5), **scene.shown(2, "Target"))) == story


def test_a_picker_behind_a_local_channel() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    scene.ring(1, 2, "PJSIP/101-00000002", "101", linked=1).wait(2).new(3, "PJSIP/102-00000003", "102", exten="555")
    scene.local(4, 5, "Local/*8@pickup-0001", linked=3, optimize="No").dial(3, 4).state(5, UP)
    scene.emit("Pickup", **scene.shown(5), **scene.shown(2, "Target")).dial_end(1, 5, "ANSWER").hangup(2, cause=26)
    scene.dial_end(3, 4, "ANSWER").enter(5, "b").enter(1, "b").link(1, 3, 4, 5).enter(4, "b2").enter(3, "b2").wait(3)
    call = scene.part(1, 5).leave(4, "b2").leave(3, "b2").hangup(4, 3).call()
    assert [(p.by.channel, p.of.number) for p in call.pickups] == [("PJSIP/102-00000003", "101")]
    assert talks(call) == [["100", "102"]]
