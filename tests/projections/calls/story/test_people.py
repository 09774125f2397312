"""The caller, the phones that rang, and the outcome."""

import pytest

from schemas.calls import Destination
from tests.support.scene import DOWN, RINGING, UP, Scene, uid


def test_a_plain_call() -> None:
    call = Scene().talk(5).part(1, 2).call()
    assert (call.linkedid, call.state, call.outcome, call.complete) == (uid(1), "ended", "answered", True)
    assert call.caller is not None
    assert (call.caller.endpoint, call.caller.number, call.caller.name) == ("PJSIP/100", "100", "Alice Abel")
    assert (call.dialled.number, call.dialled.context) == ("101", "internal")
    (ring,) = call.rings
    assert ring.from_ is not None
    assert (ring.from_.number, ring.to.number, ring.outcome, round(ring.seconds or 0)) == ("100", "101", "answered", 2)
    (talk,) = call.conversations
    assert ([p.number for p in talk.parties], round(talk.seconds or 0)) == (["100", "101"], 5)
    assert call.answered_by is not None
    assert (call.answered_by.number, call.destination.endpoint) == ("101", "PJSIP/101")
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.cause, call.hangup.cause_text) == ("caller", 16, "Normal Clearing")
    assert [(p.number, p.role, p.answered) for p in call.parties] == [("100", "caller", True), ("101", "callee", True)]


def test_the_callee_hangs_up() -> None:
    call = Scene().talk().part(2, 1).call()
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.party and call.hangup.party.number) == ("callee", "101")


def test_a_hangup_without_a_request_is_the_pbxs() -> None:
    call = Scene().talk().leave(2, "b").leave(1, "b").hangup(2, 1).call()
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.party) == ("pbx", None)


def test_a_long_extension_h_hides_no_hangup() -> None:
    """The caller's channel lasts as long as the extension, though the callee hung up."""
    scene = Scene().talk().request(2).leave(2, "b").leave(1, "b").hangup(2)
    call = scene.run(1, "AGI", "report.agi", exten="h").wait(3).hangup(1).call()
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.party and call.hangup.party.number) == ("callee", "101")


def test_a_soft_request_of_the_dialplan_names_nobody() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="503")
    call = scene.emit("SoftHangupRequest", **scene.shown(1)).hangup(1).call()
    assert call.hangup is not None
    assert call.hangup.by == "pbx"


def test_the_caller_id_before_the_first_dial_counts() -> None:
    scene = Scene().new(1, "PJSIP/trunk-00000001", "004930123", exten="5550100")
    scene.number(1, "+4930123", "Ann").number(1, "", "").ring(1, 2, "PJSIP/100-00000002", "100", linked=1)
    scene.number(1, "999").answer(1, 2, "b").part(1, 2)
    caller = scene.call().caller
    assert caller is not None
    assert (caller.number, caller.name, caller.number_at_start) == ("+4930123", "Ann", "004930123")


def test_a_dialled_number_is_the_first_one_shown() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="95551212")
    scene.new(2, "PJSIP/trunk-00000002", linked=1, state=DOWN).number(2, "5551212", "Out")
    scene.dial(1, 2, "5551212@trunk").number(2, "100").answer(1, 2, "b").part(1, 2)
    call = scene.call()
    assert (call.rings[0].to.number, call.rings[0].to.name) == ("5551212", "Out")


def test_the_first_dialable_extension_was_dialled() -> None:
    scene = Scene().new(1, "PJSIP/trunk-00000001", "1", exten="s")
    scene.run(1, "Answer", exten="welcome").run(1, "Goto", exten="210").run(1, "Goto", exten="1").hangup(1)
    assert scene.call().dialled.number == "210"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("BUSY", "busy"),
        ("NOANSWER", "no_answer"),
        ("CANCEL", "cancelled"),
        ("CONGESTION", "congestion"),
        ("CHANUNAVAIL", "unavailable"),
        ("DONTCALL", "refused"),
        ("TORTURE", "refused"),
    ],
)
def test_outcomes_of_rings(status: str, outcome: str) -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    scene.ring(1, 2, "PJSIP/101-00000002", "101", linked=1).wait(1).dial_end(1, 2, status)
    ring = scene.wait(5).dial_end(1, 2, "ANSWER").hangup(2, 1).call().rings[0]
    assert (ring.outcome, round(ring.seconds or 0)) == (outcome, 1)


@pytest.mark.parametrize(("state", "outcome"), [(UP, "answered"), (RINGING, "no_answer")])
def test_a_ring_ends_by_an_unknown_status(state: int, outcome: str) -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101").ring(1, 2, "PJSIP/101-2", "101", linked=1)
    call = scene.state(2, state).dial_end(1, 2, "CONTINUE" if state == UP else "").hangup(2, 1).call()
    assert (call.rings[0].outcome, call.outcome) == (outcome, "no_answer")


def test_ringing_before_the_dial_and_without_one() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101").new(2, "PJSIP/101-00000002", "101", linked=1)
    scene.state(2, RINGING).dial(1, 2).answer(1, 2, "b").part(1, 2)
    assert scene.call().rings[0].ringing_at is not None
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101").new(2, "PJSIP/101-00000002", "101", linked=1)
    scene.dial(1, 2).answer(1, 2, "b").part(1, 2)
    assert scene.call().rings[0].ringing_at is None
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101").new(2, "PJSIP/101-00000002", "101", linked=1)
    scene.dial(1, 2).emit("DialState", **scene.shown(2, "Dest"), DialStatus="PROGRESS").hangup(2, 1)
    assert scene.call().rings[0].ringing_at is not None


def test_one_phone_of_a_group_answers() -> None:
    scene = Scene().new(1, "PJSIP/trunk-00000001", "1", exten="5550100")
    for phone in (2, 3, 4):
        scene.ring(1, phone, f"PJSIP/10{phone}-0000000{phone}", f"10{phone}", linked=1)
    scene.wait(3).state(3, UP).dial_end(1, 2, "CANCEL").dial_end(1, 4, "CANCEL").hangup(2, cause=26)
    call = scene.answer(1, 3, "b").hangup(4).part(1, 3).call()
    assert [(r.to.number, r.outcome) for r in call.rings] == [
        ("102", "elsewhere"),
        ("103", "answered"),
        ("104", "elsewhere"),
    ]


def test_a_phone_is_cancelled_after_the_answer() -> None:
    """It is behind a Local channel, which ends first; its Hangup is missing, and so is the cause 26."""
    scene = Scene().new(1, "PJSIP/trunk-00000001", "1", exten="5550100")
    scene.ring(1, 2, "PJSIP/102-00000002", "102", linked=1).local(3, 4, "Local/103@group-0001", linked=1).dial(1, 3)
    scene.ring(4, 5, "PJSIP/103-00000005", "103", linked=1).wait(3).answer(1, 2, "b")
    call = scene.dial_end(1, 3, "CANCEL").hangup(3).dial_end(4, 5, "CANCEL").hangup(4).part(1, 2).hangup(5).call()
    assert [(r.to.number, r.outcome) for r in call.rings] == [("102", "answered"), ("103", "elsewhere")]


def test_a_caller_who_gives_up_cancels() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    scene.ring(1, 2, "PJSIP/101-00000002", "101", linked=1).wait(4).request(1).dial_end(1, 2, "CANCEL")
    call = scene.hangup(2).hangup(1, cause=0).call()
    assert (call.outcome, call.rings[0].outcome, call.hangup and call.hangup.by) == ("cancelled", "cancelled", "caller")
    assert call.destination.number == "101"


def test_a_ring_without_its_beginning() -> None:
    """The listener was not connected at its DialBegin; the channel's start stands for that of the ring."""
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101").new(2, "PJSIP/101-00000002", "101", linked=1)
    call = scene.state(2, RINGING).wait(4).dial_end(1, 2, "BUSY").hangup(2, 1, cause=17).call()
    assert [(r.from_ and r.from_.number, r.to.number, r.outcome) for r in call.rings] == [("100", "101", "busy")]
    assert (call.rings[0].started_at, call.caller and call.caller.number) == (call.legs[1].started_at, "100")


def test_a_ring_without_its_end() -> None:
    """The phone talked, so its ring was answered, whatever its hangup's cause is."""
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101").ring(1, 2, "PJSIP/101-2", "101", linked=1)
    call = scene.wait(2).state(2, UP).state(1, UP).enter(2, "b").enter(1, "b").wait(3).part(1, 2).call()
    assert (call.rings[0].outcome, round(call.rings[0].seconds or 0)) == ("answered", 2)


def test_a_phone_may_be_up_before_its_dial() -> None:
    """An analogue line is up at once. A picker's channel began its own call."""
    scene = Scene().new(1, "SIP/100-00000001", "100", exten="300").ring(1, 2, "SIP/101-00000002", "101", linked=1)
    scene.new(3, "DAHDI/4-1", "300", linked=1, state=DOWN).state(3, UP).dial(1, 3, "4/5551212").dial_end(1, 3, "ANSWER")
    call = scene.dial_end(1, 2, "CANCEL").hangup(2, cause=26).state(1, UP).enter(3, "b").enter(1, "b").part(1, 3).call()
    assert [(r.to.endpoint, r.outcome) for r in call.rings] == [("SIP/101", "elsewhere"), ("DAHDI/4", "answered")]
    assert call.pickups == []


def test_a_doubled_dial_is_one_ring() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101").ring(1, 2, "PJSIP/101-2", "101", linked=1)
    call = scene.dial_end(1, 2, "BUSY").dial(1, 2, "101").dial_end(1, 2, "NOANSWER").hangup(2, 1).call()
    assert [(r.dialled, r.outcome) for r in call.rings] == [("101", "busy")]


BY_CAUSE = {
    "busy": (17, 21),
    "no_answer": (18, 19, 16, 127),
    "congestion": (34, 38, 41, 42, 44),
    "failed": (1, 3, 20, 27, 28, 58, 88),
}


@pytest.mark.parametrize(("outcome", "cause"), [(o, cause) for o, causes in BY_CAUSE.items() for cause in causes])
def test_outcomes_by_the_callers_cause(outcome: str, cause: int) -> None:
    assert Scene().new(1, "PJSIP/100-00000001", "100", exten="500").hangup(1, cause=cause).call().outcome == outcome


def test_a_caller_may_speak_with_the_pbx_alone() -> None:
    call = Scene().new(1, "PJSIP/100-00000001", "100", exten="210").state(1, UP).wait(3).hangup(1).call()
    assert (call.outcome, call.conversations, call.destination) == ("pbx_only", [], Destination(number="210"))


def test_an_acceptance_menu_is_no_conversation() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    scene.ring(1, 2, "PJSIP/101-00000002", "101", linked=1).state(2, UP).dial_end(1, 2, "ANSWER").wait(4)
    call = scene.hangup(2).hangup(1).call()
    assert (call.outcome, call.rings[0].outcome, call.answered_by) == ("no_answer", "answered", None)


def test_a_phone_that_forwards() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    scene.ring(1, 2, "PJSIP/101-00000002", "101", linked=1).dial_end(1, 2, "CANCEL", Forward="Local/107@internal")
    scene.ring(1, 3, "PJSIP/107-00000003", "107", linked=1).hangup(2).answer(1, 3, "b").part(1, 3)
    call = scene.call()
    assert [(f.by.number, f.to) for f in call.forwards] == [("101", "107")]
    assert [(r.to.number, r.outcome) for r in call.rings] == [("101", "forwarded"), ("107", "answered")]


def test_a_forward_through_an_early_local_channel() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="101")
    scene.ring(1, 2, "PJSIP/101-00000002", "101", linked=1).local(3, 4, "Local/107@internal-0001", linked=1)
    scene.ring(4, 5, "PJSIP/107-00000005", "107", linked=1)
    scene.dial_end(1, 2, "CANCEL", Forward="Local/107@internal").dial(1, 3, "107@internal").hangup(2)
    call = scene.wait(3).hangup(5, cause=19).hangup(4, 3, 1, cause=19).call()
    assert [(r.from_ and r.from_.number, r.to.number, r.outcome) for r in call.rings] == [
        ("100", "101", "forwarded"),
        ("100", "107", "no_answer"),
    ]


def test_the_phone_behind_a_local_channel_is_rung() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="300").local(2, 3, "Local/101@group-0001", linked=1)
    scene.dial(1, 2, "Local/101@group").ring(3, 4, "PJSIP/101-00000004", "101", linked=1).wait(1)
    scene.dial_end(3, 4, "BUSY").dial_end(1, 2, "NOANSWER").hangup(4, cause=17).hangup(3, 2).hangup(1, cause=17)
    call = scene.call()
    assert [(r.from_ and r.from_.number, r.to.number, r.outcome) for r in call.rings] == [("100", "101", "busy")]
    assert call.outcome == "busy"


def test_click_to_dial() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", state=DOWN).dial(None, 1, "100").state(1, RINGING).wait(2)
    scene.state(1, UP).dial_end(None, 1, "ANSWER").ring(1, 2, "PJSIP/101-00000002", "101", linked=1)
    call = scene.answer(1, 2, "b").wait(3).part(2, 1).call()
    assert (call.originated, call.caller and call.caller.number, call.dialled.number) == (True, "100", "101")
    assert [(r.from_ and r.from_.number, r.to.number) for r in call.rings] == [(None, "100"), ("100", "101")]


def test_click_to_dial_of_an_unanswered_phone() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", state=DOWN).dial(None, 1, "100").state(1, RINGING).wait(20)
    call = scene.dial_end(None, 1, "NOANSWER").hangup(1, cause=19).call()
    assert (call.caller, call.outcome, call.rings[0].outcome) == (None, "no_answer", "no_answer")


def test_click_to_dial_ends_without_a_dialend() -> None:
    """Asterisk 16.28.0 only hangs up, with cause 0, when the time of an Originate is over."""
    scene = Scene().new(1, "PJSIP/100-00000001", "100", state=DOWN).dial(None, 1, "100").state(1, RINGING).wait(20)
    call = scene.hangup(1, cause=0).call()
    assert (call.caller, call.outcome, call.rings[0].outcome) == (None, "no_answer", "no_answer")


def test_click_to_dial_over_a_local_channel() -> None:
    scene = Scene().local(1, 2, "Local/100@click-0001", linked=1).dial(None, 1, "Local/100@click")
    scene.ring(2, 3, "PJSIP/100-00000003", "100", linked=1).answer(2, 3, "b1").state(1, UP).dial_end(None, 1, "ANSWER")
    scene.ring(1, 4, "PJSIP/101-00000004", "101", linked=1).answer(1, 4, "b2").wait(3).request(4)
    call = scene.leave(4, "b2").leave(1, "b2").leave(2, "b1").leave(3, "b1").hangup(4, 1, 2, 3).call()
    assert (call.originated, call.caller and call.caller.number, call.dialled.number) == (True, "100", "101")
    assert [(r.from_ and r.from_.number, r.to.number) for r in call.rings] == [(None, "100"), ("100", "101")]
    assert [[p.number for p in talk.parties] for talk in call.conversations] == [["100", "101"]]


def test_channels_of_asterisk_alone_are_no_call() -> None:
    scene = Scene().new(1, "Message/ast_msg_queue").local(2, 3, "Local/answer@lab-0001", linked=2).hangup(2, 3)
    assert scene.calls() == {}
