"""Rings of CEL, which has no dials."""

import pytest

from tests.projections.calls.story.cel_scene import CelScene
from tests.support.scene import uid


@pytest.mark.parametrize(
    ("cause", "by", "status", "outcome"),
    [
        (26, 0, "ANSWER", "elsewhere"),
        (0, 0, "NOANSWER", "no_answer"),
        (0, 0, "CANCEL", "cancelled"),
        (17, 2, "BUSY", "busy"),
        (20, 2, "CHANUNAVAIL", "unavailable"),
        (34, 2, "CONGESTION", "congestion"),
        (21, 2, "NOANSWER", "no_answer"),
    ],
)
def test_a_ring_ends_by_its_cause(cause: int, by: int, status: str, outcome: str) -> None:
    call = CelScene().ring().wait(2).end(2, by=by, cause=cause).end(1, by=1, status=status).call()
    assert [ring.outcome for ring in call.rings] == [outcome]


def test_a_dialler_who_goes_on_cancelled_nothing() -> None:
    scene = CelScene().ring().wait(2).end(2, cause=0).wait(3)
    scene.start(3, "PJSIP/102-00000003", "102", linked=1).wait(2).end(3, cause=0)
    # The extension h runs for three seconds, and HANGUP comes after it.
    call = scene.wait(3).end(1, by=1, status="CANCEL").call()
    assert [ring.outcome for ring in call.rings] == ["no_answer", "cancelled"]
    assert call.hangup is not None
    assert (call.outcome, call.hangup.by, call.hangup.at) == ("cancelled", "caller", call.rings[1].ended_at)


def test_a_ring_without_dialstatus_ends_by_time() -> None:
    """Asterisk 1.8 has no details of a hangup."""
    for seconds, outcome in ((0, "cancelled"), (3, "no_answer")):
        scene = CelScene().ring().wait(2).emit("HANGUP", 2).wait(seconds).emit("HANGUP", 1)
        assert [ring.outcome for ring in scene.call().rings] == [outcome]


def test_a_group_whose_time_is_over() -> None:
    """Dial copies the status of the busy phone, though the other one did not answer."""
    scene = CelScene().ring().start(3, "PJSIP/102-00000003", "102", linked=1).run(3, "AppDial", "(Outgoing Line)")
    call = scene.wait(1).end(2, by=2, cause=17).wait(5).end(3, cause=0).end(1, status="BUSY").call()
    assert [ring.outcome for ring in call.rings] == ["busy", "no_answer"]


def test_the_next_ring_may_begin_before_an_end() -> None:
    """The dialler went on to 102, before the thread of 101's channel wrote its end."""
    scene = CelScene().ring().wait(3).start(3, "PJSIP/102-00000003", "102", linked=1).run(3, "AppDial").end(2, cause=0)
    call = scene.emit("ANSWER", 3).enter(3, "b").enter(1, "b").wait(2).leave(3, "b").leave(1, "b").end(3, by=3)
    rings = call.end(1, by=3, status="ANSWER").call().rings
    assert [ring.outcome for ring in rings] == ["no_answer", "answered"]


@pytest.mark.parametrize("status", ["DONTCALL", "TORTURE"])
def test_a_screened_caller_is_refused(status: str) -> None:
    call = CelScene().ring().wait(2).emit("ANSWER", 2).wait(3).end(2).end(1, status=status).call()
    assert [(ring.outcome, round(ring.seconds or 0)) for ring in call.rings] == [("refused", 5)]
    assert call.outcome != "answered"


def test_a_ring_lasts_through_an_acceptance_menu() -> None:
    scene = CelScene().ring().wait(2).emit("ANSWER", 2).wait(3).emit("ANSWER", 1).enter(2, "b").enter(1, "b").wait(4)
    # The phone is held, and comes back.
    scene.leave(2, "b").wait(2).enter(2, "b").wait(2).leave(2, "b").leave(1, "b")
    call = scene.end(2, by=2).end(1, status="ANSWER").call()
    assert [(ring.outcome, round(ring.seconds or 0)) for ring in call.rings] == [("answered", 5)]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_consultation_rings_for_the_transferer(*, is_late: bool) -> None:
    """101 asks 102 by feature code; 102 may ring before the Local half is in 101's bridge."""
    scene = CelScene().talk(2)
    for channel, half in ((3, 1), (4, 2)):
        scene.start(channel, f"Local/102@internal-00000000;{half}", "101", exten="102", linked=1)
    scene.run(4, "Dial", "PJSIP/102")
    if is_late:
        scene.start(5, "PJSIP/102-00000005", "102", linked=1).enter(3, "c")
    else:
        scene.enter(3, "c").start(5, "PJSIP/102-00000005", "102", linked=1)
    scene.run(5, "AppDial", "(Outgoing Line)").leave(2, "b").enter(2, "c").wait(2)
    # 101 completes the transfer before 102 answers, and the ring is over in another order of lines.
    scene.leave(2, "c").leave(3, "c").enter(3, "b")
    facts = {"bridge1_id": "b", "bridge2_id": "c", "channel2_uniqueid": uid(2), "transferee_channel_uniqueid": uid(1)}
    scene.emit("ATTENDEDTRANSFER", 2, facts).end(2, by=2).wait(8)
    scene.end(4, status="NOANSWER").end(5, cause=0).leave(3, "b").end(3)
    call = scene.leave(1, "b").end(1, status="ANSWER").call()
    rings = [(ring.from_ and ring.from_.number, ring.to.number, ring.outcome) for ring in call.rings]
    assert rings == [("100", "101", "answered"), ("101", "102", "no_answer")]
    (transfer,) = call.transfers
    assert (transfer.kind, transfer.number, [p.number for p in transfer.to]) == ("blonde", "102", ["102"])
    assert transfer.outcome == "no_answer"


def test_a_blonde_transferer_has_not_ended_the_call() -> None:
    """Asterisk calls the transferer back when 102 does not answer, and writes his HANGUP no earlier."""
    scene = CelScene().talk(2)
    for channel, half in ((3, 1), (4, 2)):
        scene.start(channel, f"Local/102@internal-00000000;{half}", "101", exten="102", linked=1)
    scene.run(4, "Dial", "PJSIP/102").enter(3, "c").start(5, "PJSIP/102-00000005", "102", linked=1)
    scene.run(5, "AppDial", "(Outgoing Line)").leave(2, "b").enter(2, "c").wait(2)
    scene.leave(2, "c").leave(3, "c").enter(3, "b")
    facts = {"bridge1_id": "b", "bridge2_id": "c", "channel2_uniqueid": uid(2), "transferee_channel_uniqueid": uid(1)}
    scene.emit("ATTENDEDTRANSFER", 2, facts).wait(8).end(4, status="NOANSWER").end(5, cause=0).leave(3, "b").end(3)
    call = scene.leave(1, "b").end(2, by=2).end(1, status="ANSWER", by=1).call()
    assert call.hangup is not None
    assert (call.hangup.by, call.hangup.party and call.hangup.party.number) == ("caller", "100")
