"""CEL of Asterisk 1.8 to 12: transfers, pickups and parking name the other channel as the peer, without JSON."""

from typing import Any

import pytest

from schemas.calls import Call
from tests.projections.calls.story.cel_scene import CelScene
from tests.projections.calls.story.scenes import numbers, talks


def talk() -> CelScene:
    """Let 100 (channel 1) talk with 101 (channel 2)."""
    scene = CelScene().ring().wait(2).emit("ANSWER", 2).emit("ANSWER", 1)
    return scene.emit("BRIDGE_START", 1, peer="PJSIP/101-00000002").wait(3)


def test_an_old_blind_transfer_has_its_number() -> None:
    scene = talk().emit("BLINDTRANSFER", 2, eventextra="102", peer="PJSIP/100-00000001")
    scene.emit("BRIDGE_END", 1).emit("HANGUP", 2).start(3, "PJSIP/102-00000003", "102", linked=1).wait(1)
    scene.emit("ANSWER", 3).emit("BRIDGE_START", 1, peer="PJSIP/102-00000003").wait(4).emit("BRIDGE_END", 1)
    call = scene.emit("HANGUP", 3).emit("HANGUP", 1).call()
    assert numbers(call) == [("blind", "101", "100", ["102"], "102", "answered")]
    assert talks(call) == [["100", "101"], ["100", "102"]]


def test_an_old_attended_transfer_is_the_transferees() -> None:
    """101 asks 102 by feature code, and the line is of 100, who is transferred."""
    local = "Local/102@internal-0001"
    scene = talk().emit("BRIDGE_END", 1).start(3, f"{local};1", exten="102", linked=1)
    scene.start(4, f"{local};2", exten="102", linked=1).start(5, "PJSIP/102-00000005", "102", linked=1).wait(1)
    scene.emit("ANSWER", 5).emit("ANSWER", 4).emit("BRIDGE_START", 4, peer="PJSIP/102-00000005").emit("ANSWER", 3)
    scene.emit("BRIDGE_START", 2, peer=f"{local};1").wait(3).emit("BRIDGE_END", 2).emit("HANGUP", 2)
    scene.emit("ATTENDEDTRANSFER", 1, peer=f"{local};1").emit("BRIDGE_START", 1, peer=f"{local};1").wait(4)
    scene.emit("BRIDGE_END", 1).emit("BRIDGE_END", 4)
    for channel in (5, 4, 3, 1):
        scene.emit("HANGUP", channel)
    call = scene.call()
    assert numbers(call) == [("attended", "101", "100", ["102"], "102", "answered")]
    assert talks(call) == [["100", "101"], ["101", "102"], ["100", "102"]]


def test_an_old_pickup_names_the_picker_as_peer() -> None:
    scene = CelScene().ring().wait(2).start(3, "PJSIP/102-00000003", "102", exten="*8").emit("ANSWER", 3)
    scene.emit("PICKUP", 2, peer="PJSIP/102-00000003").emit("HANGUP", 2).emit("ANSWER", 1).link(1, 3)
    scene.emit("BRIDGE_START", 1, peer="PJSIP/102-00000003").wait(3).emit("BRIDGE_END", 1)
    call = scene.emit("HANGUP", 3).emit("HANGUP", 1).call()
    assert [(p.by.number, p.of.number) for p in call.pickups] == [("102", "101")]
    assert ([r.outcome for r in call.rings], talks(call)) == (["picked_up"], [["100", "102"]])


def test_an_old_forward_has_its_number() -> None:
    call = CelScene().ring().wait(1).emit("FORWARD", 1, eventextra="107").emit("HANGUP", 2).emit("HANGUP", 1).call()
    assert [(f.by.number, f.to) for f in call.forwards] == [("101", "107")]


def ended_park(reason: str) -> Call:
    """Park 100 until 102 (channel 3) comes, and end the stay with a reason."""
    scene = talk().emit("BRIDGE_END", 1).emit("PARK_START", 1, eventextra="vip").emit("HANGUP", 2).wait(5)
    scene.start(3, "PJSIP/102-00000003", "102", exten="701").emit("ANSWER", 3)
    scene.emit("PARK_END", 1, eventextra=reason, peer="PJSIP/102-00000003" if reason == "UnParkedCall" else "")
    return scene.emit("HANGUP", 3).emit("HANGUP", 1).calls()["1795309000.1"]


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("UnParkedCall", "retrieved"),
        ("ParkedCallTimeOut", "timeout"),
        ("ParkedCallGiveUp", "gave_up"),
        ("", None),
        ('{"reason": "ParkedCallFailed"}', None),
    ],
)
def test_a_stay_ends_by_its_reason(reason: str, outcome: Any) -> None:
    (stay,) = ended_park(reason).parks
    assert (stay.lot, stay.outcome, stay.until is not None) == ("vip", outcome, True)
    assert (stay.retrieved_by and stay.retrieved_by.number) == ("102" if outcome == "retrieved" else None)


def test_a_parked_channel_may_be_swapped() -> None:
    """A Local channel is parked, and the person behind it takes its place when Asterisk removes it."""
    scene = CelScene().start(1, "PJSIP/100-00000001", "100", exten="700").emit("ANSWER", 1)
    scene.emit("PARK_START", 1, {"parker_dial_string": "PJSIP/101", "parking_lot": "default"}).wait(2)
    call = scene.emit("PARK_END", 1, {"reason": "ParkedCallSwap"}).wait(2).call()
    assert [(stay.party.number, stay.until) for stay in call.parks] == [("100", None)]
