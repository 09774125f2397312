"""Passages of CEL, from the lines of Queue."""

import pytest

from tests.projections.calls.story.cel_scene import CelScene
from tests.support.scene import uid


def queued(seconds: float) -> CelScene:
    """Let 100 wait in the queue ``sales``, which rings 101, of a system whose cel.conf logs Queue."""
    scene = CelScene().start(1, "PJSIP/100-00000001", "100", exten="600").emit("ANSWER", 1)
    scene.run(1, "Queue", "sales,t,,,25").emit("APP_START", 1).wait(1)
    return scene.start(2, "PJSIP/101-00000002", "101", linked=1).run(2, "AppQueue").wait(seconds)


def test_an_answered_passage_has_wait_and_talk() -> None:
    scene = queued(6).emit("ANSWER", 2).enter(2, "b").enter(1, "b").wait(9).leave(2, "b").leave(1, "b")
    call = scene.emit("APP_END", 1).end(2, by=2).end(1, by=2).call()
    (passage,) = call.queues
    assert (passage.queue, passage.outcome, passage.wait_seconds) == ("sales", "answered", 7)
    assert passage.talk_seconds == pytest.approx(9, abs=0.01)
    assert (passage.agent and passage.agent.name, [ring.queue for ring in call.rings]) == ("PJSIP/101", ["sales"])
    assert [party.role for party in call.parties] == ["caller", "agent"]


def test_a_caller_who_hangs_up_abandoned() -> None:
    call = queued(4).emit("APP_END", 1).end(2).end(1, by=1, status="CANCEL").call()
    assert [(p.outcome, p.wait_seconds) for p in call.queues] == [("abandoned", 5)]
    assert call.outcome == "abandoned"


def test_a_passage_of_its_whole_time_timed_out() -> None:
    """Asterisk 22 logged APP_END 8 ms after the timeout."""
    call = queued(24.008).end(2).emit("APP_END", 1).run(1, "", "").wait(2).end(1, by=1).call()
    assert [(p.outcome, p.wait_seconds) for p in call.queues] == [("timeout", 25)]
    assert call.outcome == "timeout"


def test_a_caller_who_stays_left_for_unknown_reasons() -> None:
    scene = queued(4).end(2).emit("APP_END", 1).run(1, "VoiceMail", "100@default").emit("APP_START", 1).wait(8)
    call = scene.end(1, by=1).call()
    assert [(p.outcome, p.wait_seconds) for p in call.queues] == [("unknown", 5)]
    assert [mail.mailbox for mail in call.voicemails] == ["100@default"]


def test_a_caller_elsewhere_in_the_dialplan_left() -> None:
    """He left by a key, or AMI's Redirect took him; then he hung up."""
    by_key = queued(4).end(2).emit("APP_END", 1, exten="1").run(1, "", "").end(1, by=1)
    by_redirect = queued(4).end(2).emit("APP_END", 1).run(1, "MusicOnHold", "").emit("STREAM_BEGIN", 1)
    by_redirect.run(1, "", "").end(1, by=1)
    for scene in (by_key, by_redirect):
        call = scene.call()
        assert [(p.outcome, p.wait_seconds) for p in call.queues] == [("unknown", 5)]
        assert call.outcome != "abandoned"


def test_the_extension_h_is_no_other_place() -> None:
    call = queued(4).end(2).emit("APP_END", 1, exten="h").end(1, by=1, status="CANCEL").call()
    assert [p.outcome for p in call.queues] == ["abandoned"]


@pytest.mark.parametrize(("queue", "seconds"), [("sales", 30.0), ("support", 30.0), ("support", 11.0)])
def test_two_queues_in_a_row_are_two_passages(queue: str, seconds: float) -> None:
    """Asterisk writes APP_END and APP_START only when the application's name changes."""
    scene = CelScene().start(1, "PJSIP/100-00000001", "100", exten="600").emit("ANSWER", 1)
    scene.run(1, "Queue", "sales,,,,10").emit("APP_START", 1).wait(seconds).run(1, "Queue", f"{queue},,,,60")
    scene.start(2, "PJSIP/101-00000002", "101", linked=1).run(2, "AppQueue", "(Outgoing Line)").emit("ANSWER", 2)
    scene.enter(2, "b").enter(1, "b").wait(3).leave(2, "b").leave(1, "b").emit("APP_END", 1)
    call = scene.end(2, by=2).end(1, by=2, status="ANSWER").call()
    assert [(p.queue, p.outcome) for p in call.queues] == [("sales", "timeout"), (queue, "answered")]
    assert [p.wait_seconds for p in call.queues] == [10, pytest.approx(seconds - 10, abs=0.1)]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_transferee_waits_in_the_legs_place(*, is_late: bool) -> None:
    """100 called 101, whose second channel waits in a queue and hands 100 into it; the names are swapped meanwhile."""
    scene = CelScene().talk(2).start(3, "PJSIP/101-00000003", "101", exten="600").run(3, "Queue", "sales,,,,60")
    scene.emit("APP_START", 3).wait(4)
    if is_late:
        scene.emit("APP_END", 3)
    facts = {"channel2_uniqueid": uid(3), "transferee_channel_uniqueid": uid(1), "app": "Queue", "bridge1_id": "b"}
    scene.emit("ATTENDEDTRANSFER", 2, facts).leave(1, "b").leave(2, "b").end(2, by=2)
    if not is_late:
        scene.emit("APP_END", 3)
    scene.run(3, "", "").end(3)
    scene.channels[1]["exten"] = "600"
    scene.run(1, "Queue", "sales,,,,60").emit("APP_START", 1).wait(4).emit("APP_END", 1)
    (passage,) = scene.run(1, "", "").end(1, by=1).call().queues
    assert (passage.outcome, passage.wait_seconds) == ("abandoned", 8)
    assert passage.party is not None
    assert passage.party.number == "100"
