"""Parking, and hold."""

from tests.projections.calls.story.scenes import blind, numbers, park_event, parked, talks
from tests.support.scene import HOLDING, UP, Scene, uid


def test_a_parked_call_is_retrieved() -> None:
    scene = parked(Scene().talk(3))
    assert scene.call().state == "parked"
    scene.new(3, "PJSIP/102-00000003", "102", exten="701").state(3, UP)
    park_event(scene, "UnParkedCall", **scene.shown(3, "Retriever"))
    scene.leave(2, "lot", **HOLDING).enter(2, "b2").enter(3, "b2").link(1, 3).wait(2)
    call = scene.part(3, 2, bridge="b2").call()
    (stay,) = call.parks
    assert (stay.party.number, stay.by, stay.lot, stay.space) == ("101", "PJSIP/100", "default", "701")
    assert (stay.outcome, stay.retrieved_by and stay.retrieved_by.number) == ("retrieved", "102")
    assert (call.linkedid, call.aliases, talks(call)) == (uid(1), [uid(3)], [["100", "101"], ["101", "102"]])


def test_parking_overtakes_its_channel() -> None:
    """A channel that calls the lot may be parked in the log before its Newchannel."""
    scene = Scene().new(2, "PJSIP/100-00000002", "100", exten="700")
    (begin,) = scene.events
    scene.events.clear()
    park_event(scene, "ParkedCall").events.append(begin)
    park_event(scene.state(2, UP).wait(3), "ParkedCallGiveUp").hangup(2)
    call = scene.call()
    assert [(p.outcome, p.until is not None) for p in call.parks] == [("gave_up", True)]
    assert (call.complete, call.caller and call.caller.number) == (True, "100")


def test_a_parked_call_times_out() -> None:
    scene = parked(Scene().talk(3))
    park_event(scene, "ParkedCallTimeOut").leave(2, "lot", **HOLDING)
    scene.ring(2, 3, "PJSIP/100-00000003", "100", linked=1).answer(2, 3, "b2").wait(1)
    call = scene.part(2, 3, bridge="b2").call()
    assert [stay.outcome for stay in call.parks] == ["timeout"]
    assert talks(call) == [["100", "101"], ["101", "100"]]


def test_a_parked_caller_gives_up() -> None:
    scene = park_event(parked(Scene().talk(3)).request(2), "ParkedCallGiveUp").leave(2, "lot", **HOLDING)
    call = scene.hangup(2).call()
    assert [stay.outcome for stay in call.parks] == ["gave_up"]
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.party and call.hangup.party.number) == ("callee", "101")


def test_a_caller_gives_up_at_once_after_parking() -> None:
    scene = Scene().talk(3)
    scene.request(1).leave(2, "b").enter(2, "lot", **HOLDING).leave(1, "b").hangup(1)
    scene = park_event(park_event(scene, "ParkedCall").wait(0.2).request(2), "ParkedCallGiveUp").leave(2, "lot")
    call = scene.hangup(2).call()
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.party and call.hangup.party.number) == ("callee", "101")


def test_a_transfer_into_a_lot_rings_no_parker() -> None:
    scene = parked(blind(Scene().talk(3), by=1, transferee=2, to="700"))
    park_event(scene, "ParkedCallTimeOut").leave(2, "lot", **HOLDING)
    scene.ring(2, 3, "PJSIP/100-00000003", "100", linked=1).answer(2, 3, "b2").wait(1)
    call = scene.part(2, 3, bridge="b2").call()
    assert numbers(call) == [("blind", "100", "101", [], "700", None)]
    assert [(r.from_ and r.from_.number, r.to.number) for r in call.rings] == [("100", "101"), ("101", "100")]


def test_another_channel_takes_a_parked_ones_place() -> None:
    scene = parked(Scene().talk(3)).new(3, "PJSIP/103-00000003", "103", linked=1).state(3, UP)
    place = {"ParkerDialString": "PJSIP/100", "Parkinglot": "default", "ParkingSpace": "701"}
    scene.emit("ParkedCallSwap", **scene.shown(3, "Parkee"), **place).hangup(2).wait(2).hangup(3)
    call = scene.call()
    assert [(stay.party.number, stay.outcome) for stay in call.parks] == [("103", "gave_up")]


def test_hold() -> None:
    scene = Scene().talk(1)
    scene.emit("Hold", **scene.shown(2)).emit("Hold", **scene.shown(2)).emit("MusicOnHoldStart", **scene.shown(1))
    scene.wait(4).emit("Unhold", **scene.shown(2)).wait(1).emit("Hold", **scene.shown(1)).wait(2)
    call = scene.part(1, 2).call()
    spans = [(h.by.number, h.until and round((h.until - h.from_).total_seconds())) for h in call.holds]
    assert spans == [("101", 4), ("100", 2)]
