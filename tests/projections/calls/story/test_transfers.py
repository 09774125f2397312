"""Transfers of every kind."""

import pytest

from schemas.call_settings import CallSettings
from tests.projections.calls.story.scenes import attended, blind, numbers, talks
from tests.support.calls import CallTable
from tests.support.folding import own
from tests.support.scene import DOWN, RINGING, UP, Scene, uid


def test_blind_transfer() -> None:
    scene = Scene().talk(3)
    blind(scene, by=1, transferee=2, to="102").leave(1, "b").leave(2, "b").hangup(1)
    scene.ring(2, 3, "PJSIP/102-00000003", "102", linked=1).wait(1).answer(2, 3, "b2").wait(4)
    call = scene.part(3, 2, bridge="b2").call()
    assert numbers(call) == [("blind", "100", "101", ["102"], "102", "answered")]
    assert talks(call) == [["100", "101"], ["101", "102"]]
    assert (call.answered_by and call.answered_by.number, call.caller and call.caller.number) == ("101", "100")
    assert [(r.from_ and r.from_.number, r.to.number) for r in call.rings] == [("100", "101"), ("101", "102")]


def test_blind_transfer_without_a_transferee_in_the_event() -> None:
    scene = Scene().talk(3)
    blind(scene, by=1, transferee=None, to="102").leave(1, "b").leave(2, "b").hangup(1)
    call = scene.ring(2, 3, "PJSIP/102-00000003", "102", linked=1).dial_end(2, 3, "BUSY").hangup(3, 2, cause=17).call()
    assert numbers(call) == [("blind", "100", "101", ["102"], "102", "busy")]
    assert call.outcome == "answered"


def test_blind_transfer_to_nobody() -> None:
    scene = Scene().talk(3)
    blind(scene, by=2, transferee=1, to="999").leave(2, "b").hangup(2).leave(1, "b")
    assert numbers(scene.hangup(1, cause=3).call()) == [("blind", "101", "100", [], "999", "failed")]


def test_a_refused_transfer_is_none() -> None:
    scene = Scene().talk(3)
    scene.emit("BlindTransfer", Result="Invalid", **scene.shown(1, "Transferer"), Extension="102")
    attended(scene, 1, 1, Result="Fail")
    assert scene.part(1, 2).call().transfers == []


def consultation(scene: Scene) -> Scene:
    """Let the transferer's second leg (channel 3) call 102 (channel 4)."""
    scene.emit("Hold", **scene.shown(1)).new(3, "PJSIP/100-00000003", "100", exten="102").run(3, "Dial", "PJSIP/102")
    return scene.ring(3, 4, "PJSIP/102-00000004", "102", linked=3).wait(1)


def test_attended_transfer_on_two_legs() -> None:
    scene = consultation(Scene().talk(3)).answer(3, 4, "b2").wait(2)
    scene.leave(2, "b").leave(3, "b2").enter(2, "b2", swap=3)
    attended(scene, 1, 3, **scene.shown(2, "Transferee"), **scene.shown(4, "TransferTarget"), DestType="Bridge").link(
        1, 4
    ).hangup(3).leave(1, "b").hangup(1).wait(5)
    call = scene.part(2, 4, bridge="b2").call()
    assert (call.linkedid, call.aliases) == (uid(1), [uid(3)])
    assert numbers(call) == [("attended", "100", "101", ["102"], "102", "answered")]
    assert talks(call) == [["100", "101"], ["100", "102"], ["101", "102"]]
    assert [(p.number, p.role) for p in call.parties] == [
        ("100", "caller"),
        ("101", "callee"),
        ("100", "caller"),
        ("102", "callee"),
    ]


def test_attended_transfer_before_its_bridge_events() -> None:
    scene = consultation(Scene().talk(3)).answer(3, 4, "b2").wait(2)
    attended(scene, 1, 3, DestType="Bridge", SecondBridgeUniqueid="b2")
    scene.leave(2, "b").leave(3, "b2").enter(2, "b2", swap=3).link(1, 4).hangup(3).leave(1, "b").hangup(1).wait(5)
    call = scene.part(2, 4, bridge="b2").call()
    assert numbers(call) == [("attended", "100", "101", ["102"], "102", "answered")]


def test_a_transfer_from_a_trunk_to_it() -> None:
    """The transferer and the phone that rings for it are two numbers of one provider."""
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="5551111")
    scene.ring(1, 2, "PJSIP/trunk-00000002", "5551111", linked=1).answer(1, 2, "b").wait(3)
    blind(scene, by=2, transferee=1, to="5552222").leave(2, "b").hangup(2).leave(1, "b").run(1, "Dial", exten="5552222")
    scene.ring(1, 3, "PJSIP/trunk-00000003", "5552222", linked=1).answer(1, 3, "b2").wait(2).part(1, 3, bridge="b2")
    table = CallTable().take(own(CallSettings(trunks=("PJSIP/trunk",)), scene.now), scene.events)
    assert [(t.to[0].number, t.outcome) for t in table.call().transfers] == [("5552222", "answered")]


def test_attended_transfer_to_a_caller_has_no_extension() -> None:
    """101 talks with a caller, answers another one, and connects both: he has dialled no extension."""
    scene = Scene().new(1, "SIP/trunk-00000001", "5550101", exten="101")
    scene.ring(1, 2, "SIP/101-00000002", "101", linked=1).answer(1, 2, "b1").wait(5)
    scene.new(3, "SIP/trunk-00000003", "5550303", exten="101").ring(3, 4, "SIP/101-00000004", "101", linked=3)
    scene.answer(3, 4, "b2").wait(3)
    legs = scene.shown(4, "OrigTransferer") | scene.shown(2, "SecondTransferer")
    both = scene.shown(3, "Transferee") | scene.shown(1, "TransferTarget")
    bridges = {"OrigBridgeUniqueid": "b2", "SecondBridgeUniqueid": "b1"}
    scene.emit("AttendedTransfer", Result="Success", **legs, **both, **bridges, DestType="Bridge")
    scene.link(1, 3).enter(3, "b1", swap=2).leave(4, "b2").hangup(2, 4).wait(4)
    call = scene.request(3).leave(3, "b1").leave(1, "b1").hangup(3, 1).call()
    (transfer,) = call.transfers
    assert [(p.number, p.role) for p in call.parties if p.endpoint == "SIP/trunk"] == [
        ("5550101", "caller"),
        ("5550303", "callee"),
    ]
    assert (call.hangup and call.hangup.by, call.hangup and call.hangup.party and call.hangup.party.number) == (
        "callee",
        "5550303",
    )
    assert (transfer.transferee and transfer.transferee.number, transfer.to[0].number) == ("5550303", "5550101")
    assert (transfer.kind, transfer.number, transfer.outcome) == ("attended", None, "answered")


def test_blonde_transfer_on_two_legs() -> None:
    scene = consultation(Scene().talk(3))
    attended(scene, 1, 3, **scene.shown(2, "Transferee"), DestType="App", DestApp="Dial").leave(1, "b").leave(
        2, "b"
    ).hangup(1, 3).wait(2)
    scene.link(1, 4).answer(2, 4, "b3").wait(3)
    call = scene.part(4, 2, bridge="b3").call()
    assert numbers(call) == [("blonde", "100", "101", ["102"], "102", "answered")]
    assert [r.outcome for r in call.rings] == ["answered", "answered"]


def feature_code(scene: Scene) -> Scene:
    """Let the caller's feature code dial 102 (channel 5) through a Local channel (3 and 4)."""
    scene.local(3, 4, "Local/102@internal-0001", linked=1).enter(3, "b2").leave(1, "b").enter(1, "b2")
    return scene.ring(4, 5, "PJSIP/102-00000005", "102", linked=1).wait(1)


def test_attended_transfer_by_feature_code() -> None:
    scene = feature_code(Scene().talk(3)).answer(4, 5, "b3").state(3, UP).wait(2)
    scene.request(1).leave(1, "b2").leave(3, "b2").enter(3, "b")
    attended(scene, 1, 1, **scene.shown(2, "Transferee"), **scene.shown(3, "TransferTarget"), DestType="Bridge").hangup(
        1
    ).wait(4)
    call = scene.request(2).leave(2, "b").leave(3, "b").leave(4, "b3").leave(5, "b3").hangup(2, 3, 4, 5).call()
    assert numbers(call) == [("attended", "100", "101", ["102"], "102", "answered")]
    assert talks(call) == [["100", "101"], ["100", "102"], ["101", "102"]]
    assert [(r.from_ and r.from_.number, r.to.number) for r in call.rings] == [("100", "101"), ("100", "102")]


def test_attended_transfer_after_the_local_channel_is_gone() -> None:
    scene = feature_code(Scene().talk(3)).answer(4, 5, "b3").state(3, UP).wait(2)
    scene.enter(5, "b2", swap=3).leave(4, "b3").hangup(3, 4)
    scene.request(1).leave(1, "b2").leave(5, "b2").enter(5, "b")
    attended(scene, 1, 1, **scene.shown(2, "Transferee"), **scene.shown(5, "TransferTarget"), DestType="Bridge")
    call = scene.hangup(1).wait(4).part(2, 5).call()
    assert numbers(call) == [("attended", "100", "101", ["102"], "102", "answered")]
    assert call.transfers[0].context == "internal"


def test_a_consultation_is_answered_before_its_bridge() -> None:
    scene = Scene().talk(3).local(3, 4, "Local/102@internal-0001", linked=1).enter(3, "b2").leave(1, "b")
    scene.ring(4, 5, "PJSIP/102-00000005", "102", linked=1).state(5, UP).dial_end(4, 5, "ANSWER").enter(1, "b2")
    call = scene.enter(5, "b3").enter(4, "b3").wait(2).hangup(5, 4, 3, 1, 2).call()
    assert [(r.from_ and r.from_.number, r.to.number) for r in call.rings] == [("100", "101"), ("100", "102")]


def test_a_transferer_does_not_end_the_talk() -> None:
    scene = feature_code(Scene().talk(3)).answer(4, 5, "b3").state(3, UP).wait(2)
    scene.request(1).leave(1, "b2").leave(3, "b2").enter(3, "b")
    attended(scene, 1, 1, **scene.shown(2, "Transferee"), **scene.shown(3, "TransferTarget"), DestType="Bridge")
    scene.hangup(1).wait(0.05).request(5).leave(5, "b3").leave(4, "b3").leave(3, "b").leave(2, "b")
    call = scene.hangup(5, 4, 3, 2).call()
    assert talks(call) == [["100", "101"], ["100", "102"], ["101", "102"]]
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.party and call.hangup.party.number) == ("callee", "102")


def test_blonde_transfer_by_feature_code_calls_back() -> None:
    scene = feature_code(Scene().talk(3))
    scene.channels[3]["ChannelState"] = RINGING
    scene.request(1).leave(1, "b2").leave(3, "b2").enter(3, "b")
    attended(scene, 1, 1, **scene.shown(2, "Transferee"), **scene.shown(3, "TransferTarget"), DestType="Bridge")
    scene.dial_end(None, 3, "NOANSWER").hangup(1).wait(5).leave(3, "b").dial_end(4, 5, "CANCEL").hangup(3, 5, 4)
    scene.new(6, "PJSIP/100-00000006", "100", state=DOWN).dial(None, 6).state(6, RINGING).state(6, UP)
    scene.dial_end(None, 6, "ANSWER").link(1, 6).enter(6, "b").wait(2)
    call = scene.part(2, 6).call()
    assert numbers(call) == [("blonde", "100", "101", ["102"], "102", "no_answer")]
    assert talks(call) == [["100", "101"], ["101", "100"]]
    assert [(r.from_ and r.from_.number, r.to.number, round(r.seconds or 0)) for r in call.rings[1:]] == [
        ("100", "102", 6),
        (None, "100", 0),
    ]


def test_blonde_transfer_without_its_target_in_the_event() -> None:
    """Asterisk leaves TransferTarget out when the transferer has left the consultation's bridge (22.10.1)."""
    scene = feature_code(Scene().talk(3))
    scene.channels[3]["ChannelState"] = RINGING
    scene.request(1).leave(1, "b2").leave(3, "b2").enter(3, "b")
    attended(scene, 1, 1, **scene.shown(2, "Transferee"), DestType="Bridge", SecondBridgeUniqueid="b2").hangup(1)
    scene.wait(1).answer(4, 5, "b3").state(3, UP).wait(4)
    call = scene.request(2).leave(2, "b").leave(3, "b").leave(4, "b3").leave(5, "b3").hangup(2, 3, 4, 5).call()
    assert numbers(call) == [("blonde", "100", "101", ["102"], "102", "answered")]


def test_an_optimised_consultation_has_its_extension() -> None:
    """Asterisk may have removed the Local channel before the transfer: the target is the phone itself."""
    scene = feature_code(Scene().talk(3)).answer(4, 5, "b3").state(3, UP).wait(1)
    scene.leave(5, "b3").enter(5, "b2", swap=3).leave(4, "b3").hangup(3, 4).wait(1)
    scene.request(1).leave(1, "b2").leave(5, "b2").enter(5, "b")
    attended(scene, 1, 1, **scene.shown(2, "Transferee"), **scene.shown(5, "TransferTarget"), DestType="Bridge")
    call = scene.hangup(1).wait(4).part(2, 5).call()
    assert numbers(call) == [("attended", "100", "101", ["102"], "102", "answered")]
    assert talks(call) == [["100", "101"], ["100", "102"], ["101", "102"]]


def test_a_consultation_dials_before_its_transferer_enters() -> None:
    scene = Scene().talk(3).local(3, 4, "Local/102@internal-0001", linked=1).enter(3, "b2")
    scene.ring(4, 5, "PJSIP/102-00000005", "102", linked=1).leave(1, "b").enter(1, "b2").wait(1)
    scene.channels[3]["ChannelState"] = RINGING
    scene.request(1).leave(1, "b2").leave(3, "b2").enter(3, "b")
    attended(scene, 1, 1, **scene.shown(2, "Transferee"), **scene.shown(3, "TransferTarget"), DestType="Bridge")
    call = scene.hangup(1).wait(1).answer(4, 5, "b3").state(3, UP).wait(4).part(2, 3).hangup(4, 5).call()
    assert [(r.from_ and r.from_.number, r.to.number) for r in call.rings] == [("100", "101"), ("100", "102")]
    assert numbers(call) == [("blonde", "100", "101", ["102"], "102", "answered")]


def test_a_transferee_hangs_up_after_the_timer() -> None:
    """The PBX's timer cancelled the ring; the transferee hung up 50 milliseconds later."""
    scene = feature_code(Scene().talk(3))
    scene.channels[3]["ChannelState"] = RINGING
    scene.request(1).leave(1, "b2").leave(3, "b2").enter(3, "b")
    attended(scene, 1, 1, **scene.shown(2, "Transferee"), **scene.shown(3, "TransferTarget"), DestType="Bridge")
    scene.hangup(1).wait(5).leave(3, "b").hangup(3, 4, 5).wait(0.05)
    assert numbers(scene.part(2).call()) == [("blonde", "100", "101", ["102"], "102", "no_answer")]


def test_a_waiting_transferer_has_not_ended_the_call() -> None:
    """100 consulted for two seconds before he hung up; 101 waited for 102 and hung up later."""
    scene = feature_code(Scene().talk(3)).wait(2)
    scene.channels[3]["ChannelState"] = RINGING
    scene.request(1).leave(1, "b2").leave(3, "b2").enter(3, "b")
    attended(scene, 1, 1, **scene.shown(2, "Transferee"), **scene.shown(3, "TransferTarget"), DestType="Bridge")
    scene.hangup(1).wait(5).request(2).leave(3, "b").leave(2, "b").hangup(2, 3, 4, 5)
    assert (hangup := scene.call().hangup) is not None
    assert (hangup.by, hangup.party and hangup.party.number) == ("callee", "101")


def test_a_transferer_does_not_end_a_short_talk() -> None:
    """The transferer hung up a moment before the target did; the target ended the call."""
    scene = consultation(Scene().talk(3)).answer(3, 4, "b2").wait(2).request(3)
    scene.leave(2, "b").leave(3, "b2").enter(2, "b2", swap=3)
    attended(scene, 1, 3, **scene.shown(2, "Transferee"), **scene.shown(4, "TransferTarget"), DestType="Bridge").link(
        1, 4
    ).hangup(3).leave(1, "b").hangup(1).wait(0.05)
    call = scene.part(4, 2, bridge="b2").call()
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.party and call.hangup.party.number) == ("callee", "102")


def test_attended_transfer_to_three() -> None:
    scene = consultation(Scene().talk(3)).answer(3, 4, "b2").wait(2)
    scene.leave(4, "b2").leave(3, "b2").enter(4, "b").enter(3, "b")
    attended(scene, 1, 3, DestType="Threeway", SecondBridgeUniqueid="b2", DestBridgeUniqueid="b")
    scene.link(1, 3, 4).wait(2).leave(1, "b").hangup(1).leave(3, "b").hangup(3).wait(2)
    call = scene.part(2, 4).call()
    assert numbers(call) == [("attended", "100", "101", ["102"], "102", "answered")]
    assert talks(call)[-1] == ["101", "102"]


def test_attended_transfer_by_a_link_of_two_bridges() -> None:
    scene = consultation(Scene().talk(3)).answer(3, 4, "b2").wait(2)
    scene.local(5, 6, "Local/_attended@transfer-0001", linked=1).enter(6, "b2", swap=3).enter(5, "b", swap=1)
    links = scene.shown(5, "LocalOne") | scene.shown(6, "LocalTwo")
    attended(scene, 1, 3, DestType="Link", SecondBridgeUniqueid="b2", **links).link(1, 4).hangup(1, 3).wait(4)
    scene.request(2).leave(2, "b").leave(5, "b").leave(6, "b2").leave(4, "b2")
    call = scene.hangup(2, 5, 6, 4).call()
    assert numbers(call) == [("attended", "100", "101", ["102"], "102", "answered")]
    assert talks(call) == [["100", "101"], ["100", "102"], ["101", "102"]]


def test_attended_transfer_with_its_legs_the_other_way() -> None:
    scene = consultation(Scene().talk(3))
    legs = scene.shown(3, "OrigTransferer") | scene.shown(1, "SecondTransferer")
    facts = legs | {"SecondBridgeUniqueid": "b", "DestType": "App", "DestApp": "Dial"}
    scene.emit("AttendedTransfer", Result="Success", **facts, **scene.shown(2, "TransferTarget"))
    scene.leave(1, "b").leave(2, "b").hangup(1, 3).wait(2).link(1, 4).answer(2, 4, "b3").wait(3)
    call = scene.part(4, 2, bridge="b3").call()
    assert numbers(call) == [("blonde", "100", "101", ["102"], "102", "answered")]


def test_attended_transfer_into_a_queue_moves_the_passage() -> None:
    scene = Scene().talk(3).new(3, "PJSIP/100-00000003", "100", exten="600").run(3, "Queue", "sales").state(3, UP)
    scene.emit("QueueCallerJoin", **scene.shown(3), Queue="sales", Position=1).wait(2)
    attended(scene, 1, 3, **scene.shown(2, "Transferee"), DestType="App", DestApp="Queue").hangup(3)
    scene.leave(1, "b").hangup(1).leave(2, "b").wait(3)
    scene.emit("QueueCallerAbandon", **scene.shown(2), Queue="sales", HoldTime=5)
    scene.emit("QueueCallerLeave", **scene.shown(2), Queue="sales").run(2, "NoOp", exten="h")
    call = scene.hangup(2).call()
    (passage,) = call.queues
    assert (passage.party and passage.party.number, passage.outcome, passage.wait_seconds) == ("101", "abandoned", 5)
    assert numbers(call)[0][:3] == ("attended", "100", "101")


def second_consultation() -> Scene:
    """Let 100 talk with 101, ask 103, who hangs up, and then ask 102 (channels 6 to 8) on the same channel."""
    scene = Scene().talk(3).local(3, 4, "Local/103@internal-0001", linked=1).enter(3, "b2").leave(1, "b").enter(1, "b2")
    scene.ring(4, 5, "PJSIP/103-00000005", "103", linked=1).answer(4, 5, "b3").state(3, UP).wait(2)
    scene.leave(3, "b2").leave(4, "b3").leave(5, "b3").hangup(3, 4, 5).leave(1, "b2").enter(1, "b").wait(3)
    scene.local(6, 7, "Local/102@internal-0002", linked=1).enter(6, "b4").leave(1, "b").enter(1, "b4")
    return scene.ring(7, 8, "PJSIP/102-00000008", "102", linked=1).answer(7, 8, "b5").state(6, UP).wait(2)


@pytest.mark.parametrize(
    "parties", [{}, {"Transferee": 2}, {"TransferTarget": 6}, {"Transferee": 2, "TransferTarget": 6}]
)
def test_the_partners_decide_without_parties(parties: dict[str, int]) -> None:
    scene = second_consultation().request(1).leave(1, "b4").leave(6, "b4").enter(6, "b")
    shown = {name: value for prefix, channel in parties.items() for name, value in scene.shown(channel, prefix).items()}
    call = attended(scene, 1, 1, **shown, DestType="Bridge").hangup(1).wait(4).part(2, 6).hangup(7, 8).call()
    assert numbers(call) == [("attended", "100", "101", ["102"], "102", "answered")]


def test_a_consultation_rings_a_group() -> None:
    """The extension is that of the transferer's second channel, and not that of a Local channel of the group."""
    scene = Scene().talk(3).new(3, "PJSIP/100-00000003", "100", exten="300").run(3, "Dial", "Local/102@g&Local/103@g")
    scene.local(4, 5, "Local/102@g-0001", linked=3).dial(3, 4).local(6, 7, "Local/103@g-0002", linked=3).dial(3, 6)
    scene.ring(5, 8, "PJSIP/102-00000008", "102", linked=3).ring(7, 9, "PJSIP/103-00000009", "103", linked=3).wait(2)
    attended(scene, 1, 3, **scene.shown(2, "Transferee"), DestType="App", DestApp="Dial").leave(1, "b").leave(2, "b")
    scene.hangup(1, 3).wait(2).link(1, 4, 5, 6, 7, 8, 9).answer(5, 8, "b4").state(4, UP).dial_end(7, 9, "CANCEL")
    scene.hangup(9, 7, 6, cause=26).enter(4, "b5").enter(2, "b5").wait(3).leave(2, "b5").leave(4, "b5")
    call = scene.leave(5, "b4").leave(8, "b4").hangup(2, 4, 5, 8).call()
    assert numbers(call) == [("blonde", "100", "101", ["102", "103"], "300", "answered")]
