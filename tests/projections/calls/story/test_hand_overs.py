"""Callers of a queue who are handed on: by a second call, into another queue, into a parking lot, and by themselves."""

from typing import Any

from schemas.calls import Call
from tests.projections.calls.story.scenes import (
    attended,
    blind,
    complete,
    connected,
    numbers,
    queue,
    rung,
    talks,
    waiting,
)
from tests.support.scene import HOLDING, RINGING, UP, Scene


def served() -> Scene:
    """Let the caller (channel 1) talk with the agent 101 (channel 2) for 5 seconds."""
    return connected(rung(waiting())).wait(5)


def consultation(scene: Scene, phone: str, number: str) -> Scene:
    """Let the second channel (3) of a phone ask 102 (channel 4) for 2 seconds."""
    scene.new(3, f"PJSIP/{phone}-00000003", number, exten="102")
    return scene.ring(3, 4, "PJSIP/102-00000004", "102", linked=3).wait(1).answer(3, 4, "b2").wait(2)


def passages(call: Call) -> list[tuple[Any, ...]]:
    return [(q.queue, q.outcome, round(q.talk_seconds or 0), q.agent and q.agent.name, q.ended_by) for q in call.queues]


def test_an_agent_asks_on_a_second_channel() -> None:
    scene = served().emit("Hold", **served().shown(2))
    consultation(scene, "101", "101").leave(1, "b").leave(3, "b2").enter(1, "b2", swap=3)
    parties = scene.shown(1, "Transferee") | scene.shown(4, "TransferTarget")
    attended(scene, 2, 3, **parties, DestType="Bridge").link(1, 3, 4)
    complete(scene, 8, "transfer").hangup(3).leave(2, "b").hangup(2).wait(30)
    call = scene.part(1, 4, bridge="b2").call()
    assert passages(call) == [("sales", "answered", 8, "Bob Baker", "transfer")]
    assert talks(call) == [["5550101", "101"], ["101", "102"], ["5550101", "102"]]
    assert [(h.by.number, h.until and round((h.until - h.from_).total_seconds())) for h in call.holds] == [("101", 3)]


def test_a_caller_hands_his_agent_on() -> None:
    scene = consultation(served(), "trunk", "5550101").leave(2, "b").leave(3, "b2").enter(2, "b2", swap=3)
    parties = scene.shown(2, "Transferee") | scene.shown(4, "TransferTarget")
    attended(scene, 1, 3, **parties, DestType="Bridge").link(1, 3, 4)
    complete(scene, 8, "transfer").hangup(3).leave(1, "b").hangup(1).wait(30)
    call = scene.part(2, 4, bridge="b2").call()
    assert numbers(call) == [("attended", "5550101", "101", ["102"], "102", "answered")]
    assert passages(call) == [("sales", "answered", 8, "Bob Baker", "transfer")]
    assert talks(call)[-1] == ["101", "102"]


def test_an_agent_hands_on_into_a_queue() -> None:
    support = {"Interface": "PJSIP/102", "MemberName": "Cy Cole", "Queue": "support"}
    scene = blind(served(), by=2, transferee=1, to="601").leave(2, "b").leave(1, "b")
    complete(scene, 5, "transfer").hangup(2).run(1, "Queue", "support", exten="601")
    queue(scene, "QueueCallerJoin", Queue="support", Position=1).wait(4)
    scene.new(3, "PJSIP/102-00000003", "102", linked=1, state=0)
    queue(scene, "AgentCalled", 1, 3, **support).dial(1, 3).state(3, RINGING).wait(2).state(3, UP)
    queue(scene.dial_end(1, 3, "ANSWER"), "QueueCallerLeave", Queue="support")
    queue(scene, "AgentConnect", 1, 3, **support, HoldTime=6, RingTime=2).enter(3, "b2").enter(1, "b2").wait(9)
    queue(scene.request(3), "AgentComplete", 1, 3, **support, HoldTime=6, TalkTime=9, Reason="agent")
    call = scene.part(3, 1, bridge="b2").call()
    assert passages(call) == [
        ("sales", "answered", 5, "Bob Baker", "transfer"),
        ("support", "answered", 9, "Cy Cole", "agent"),
    ]
    assert numbers(call) == [("blind", "101", "5550101", ["102"], "601", "answered")]
    assert [(r.to.number, r.queue) for r in call.rings] == [("101", "sales"), ("102", "support")]


def test_an_agent_parks_his_caller() -> None:
    scene = served()
    place = {"ParkerDialString": "PJSIP/101", "Parkinglot": "default", "ParkingSpace": "701"}
    scene.leave(1, "b").enter(1, "lot", **HOLDING).emit("ParkedCall", **scene.shown(1, "Parkee"), **place).leave(2, "b")
    complete(scene, 5, "transfer").hangup(2).wait(7).new(3, "PJSIP/102-00000003", "102", exten="701").state(3, UP)
    scene.emit("UnParkedCall", **scene.shown(1, "Parkee"), **scene.shown(3, "Retriever"), **place)
    scene.leave(1, "lot", **HOLDING).enter(1, "b2").enter(3, "b2").link(1, 3).wait(4)
    call = scene.part(1, 3, bridge="b2").call()
    assert passages(call) == [("sales", "answered", 5, "Bob Baker", "transfer")]
    assert [(p.party.number, p.retrieved_by and p.retrieved_by.number) for p in call.parks] == [("5550101", "102")]
    assert talks(call) == [["5550101", "101"], ["5550101", "102"]]


def test_a_recording_outlasts_a_transfer() -> None:
    scene = Scene().talk(1).var(1, "MIXMONITOR_FILENAME", "/rec/1.wav")
    blind(scene.emit("MixMonitorStart", **scene.shown(1)).wait(2), by=2, transferee=1, to="102").leave(2, "b")
    scene.hangup(2).leave(1, "b").ring(1, 3, "PJSIP/102-00000003", "102", linked=1).wait(1).answer(1, 3, "b2").wait(3)
    (recording,) = scene.part(1, 3, bridge="b2").call().recordings
    assert recording.ended_at is not None
    assert round((recording.ended_at - recording.started_at).total_seconds()) == 6
