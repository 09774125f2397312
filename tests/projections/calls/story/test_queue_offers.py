"""Rings of members whose channel changes before they answer, and passages of which events are missing."""

from typing import Any

from tests.projections.calls.story.scenes import MEMBER, complete, connected, queue, rung, waiting
from tests.support.calls import CallTable
from tests.support.scene import UP, Scene


def offers(scene: Scene) -> list[tuple[Any, ...]]:
    """Return (agent, outcome, whole seconds of talk) of each ring of an agent."""
    items = [item for row in CallTable().take(scene.events).read() for item in row.agent_rings]
    return [(item["agent"], item["outcome"], round(item["talk_seconds"])) for item in items]


def offer(scene: Scene, member: dict[str, str]) -> Scene:
    """Let the queue ring a member on channel 2."""
    return queue(scene, "AgentCalled", 1, 2, **member).dial(1, 2, member["Interface"])


def forwarded() -> Scene:
    """Let a member's phone forward to 107, behind a Local channel (3 and 4), where it rings for 2 seconds."""
    scene = offer(waiting().new(2, "PJSIP/101-00000002", "101", linked=1, state=0), MEMBER).wait(1)
    scene.dial_end(1, 2, "CANCEL", Forward="Local/107@internal").hangup(2)
    scene.local(3, 4, "Local/107@internal-0001", linked=1).dial(1, 3, "Local/107@internal")
    return scene.ring(4, 5, "PJSIP/107-00000005", "107", linked=1).wait(2)


def test_a_members_phone_forwards() -> None:
    scene = forwarded().answer(4, 5, "b2").state(3, UP).dial_end(1, 3, "ANSWER")
    queue(scene, "QueueCallerLeave")
    queue(scene, "AgentConnect", 1, 3, **MEMBER, HoldTime=13, RingTime=3).enter(3, "b").enter(1, "b").wait(7)
    queue(scene, "AgentComplete", 1, 3, **MEMBER, HoldTime=13, TalkTime=7, Reason="caller").request(1)
    call = scene.leave(1, "b").leave(3, "b").leave(4, "b2").leave(5, "b2").hangup(1, 3, 4, 5).call()
    assert [(r.to.number, r.queue, r.outcome) for r in call.rings] == [
        ("101", "sales", "forwarded"),
        ("107", "sales", "answered"),
    ]
    assert offers(scene) == [("Bob Baker", "answered", 7)]
    assert [(p.number, p.role) for p in call.parties if p.answered] == [("5550101", "caller"), ("107", "agent")]


def test_a_forwarded_member_does_not_answer() -> None:
    scene = forwarded().dial_end(4, 5, "NOANSWER").hangup(5).dial_end(1, 3, "NOANSWER")
    queue(scene, "AgentRingNoAnswer", 1, 3, **MEMBER, RingTime=3000).hangup(4, 3).request(1)
    assert offers(scene.hangup(1)) == [("Bob Baker", "ring_no_answer", 0)]


def test_a_members_local_channel_is_gone() -> None:
    member = {"Interface": "Local/107@internal", "MemberName": "Bob Baker"}
    scene = offer(waiting().local(2, 3, "Local/107@internal-0001", linked=1), member)
    scene.ring(3, 4, "PJSIP/107-00000004", "107", linked=1).wait(2).answer(3, 4, "b2").state(2, UP)
    queue(scene.dial_end(1, 2, "ANSWER"), "QueueCallerLeave")
    scene.leave(4, "b2").enter(2, "b").enter(4, "b", swap=2).leave(3, "b2").hangup(2, 3)
    queue(scene, "AgentConnect", 1, 4, **member, HoldTime=12, RingTime=2).enter(1, "b").wait(7)
    queue(scene, "AgentComplete", 1, 4, **member, HoldTime=12, TalkTime=7, Reason="caller")
    (passage,) = scene.part(1, 4).call().queues
    assert (passage.outcome, passage.talk_seconds) == ("answered", 7)
    assert offers(scene) == [("Bob Baker", "answered", 7)]


def without(scene: Scene, *names: str) -> Scene:
    """Remove the events of these names."""
    scene.events = [event for event in scene.events if event.name not in names]
    return scene


def answered() -> Scene:
    return complete(connected(rung(waiting())).wait(8).request(1), 8, "caller").part(1, 2)


def test_a_passage_is_told_without_its_beginning() -> None:
    scene = queue(waiting(30).request(1), "QueueCallerAbandon", HoldTime=30)
    (passage,) = without(queue(scene, "QueueCallerLeave").hangup(1), "QueueCallerJoin").call().queues
    assert (passage.outcome, passage.wait_seconds, passage.position) == ("abandoned", 30, None)
    assert passage.left_at is not None
    assert round((passage.left_at - passage.entered_at).total_seconds()) == 30


def test_a_passage_is_told_by_its_completion() -> None:
    whole = answered()
    scene = without(answered(), "QueueCallerJoin", "QueueCallerLeave", "AgentCalled", "AgentConnect")
    (passage,), (other,) = scene.call().queues, whole.call().queues
    assert passage.answered_at is not None
    assert other.answered_at is not None
    assert abs((passage.answered_at - other.answered_at).total_seconds()) < 0.1
    names = ("outcome", "wait_seconds", "talk_seconds", "agent", "ended_by")
    assert [getattr(passage, name) for name in names] == [getattr(other, name) for name in names]
    assert offers(scene) == offers(whole) == [("Bob Baker", "answered", 8)]


def test_an_answer_without_its_call_counts() -> None:
    assert offers(without(answered(), "AgentCalled")) == [("Bob Baker", "answered", 8)]


def test_a_member_is_called_before_its_channel() -> None:
    """AgentCalled may overtake the Newchannel of the member's channel."""
    scene = answered()
    place = next(i for i, event in enumerate(scene.events) if event.name == "AgentCalled")
    scene.events.insert(place - 1, scene.events.pop(place))
    assert [scene.events[place].name, *(r.queue for r in scene.call().rings)] == ["Newchannel", "sales"]
    assert offers(scene) == [("Bob Baker", "answered", 8)]


def test_doubled_events_of_a_queue_count_once() -> None:
    scene = answered()
    scene.events = [one for event in scene.events for one in [event, event]]
    assert [(q.outcome, q.talk_seconds) for q in scene.call().queues] == [("answered", 8)]
    assert offers(scene) == [("Bob Baker", "answered", 8)]


def test_a_dumped_caller_waits_on() -> None:
    """The member hung up during the announcement: AgentDump, and the queue rings others."""
    scene = rung(waiting()).state(2, UP).dial_end(1, 2, "ANSWER").wait(2).request(2)
    queue(scene, "AgentDump", 1, 2, **MEMBER).dial_end(1, 2, "NOANSWER").hangup(2)
    assert [q.outcome for q in scene.call().queues] == [None]
    assert scene.call().state == "waiting"
    scene = connected(rung(scene, 3), 3, 18).wait(4)
    call = complete(scene, 4, "caller", 3).part(1, 3).call()
    assert [(q.outcome, q.talk_seconds) for q in call.queues] == [("answered", 4)]
    assert offers(scene) == [("Bob Baker", "cancelled", 0), ("Bob Baker", "answered", 4)]
    assert len(call.conversations) == 1


def test_a_callback_enters_before_its_person_is_bridged() -> None:
    """A Local channel that the PBX dialled waits for a person beyond it, who is bridged later."""
    scene = Scene().local(1, 2, "Local/5550101@out-0001", linked=1, optimize="No").dial(None, 1)
    scene.ring(2, 3, "PJSIP/trunk-00000003", "5550101", linked=1).wait(2).state(3, UP).dial_end(2, 3, "ANSWER")
    scene.state(2, UP).state(1, UP).dial_end(None, 1, "ANSWER").run(1, "Queue", "sales")
    queue(scene, "QueueCallerJoin", 1, Position=1).enter(3, "b2").enter(2, "b2").wait(5).request(3)
    queue(scene, "QueueCallerAbandon", 1, HoldTime=5)
    call = queue(scene.request(1), "QueueCallerLeave", 1).leave(3, "b2").leave(2, "b2").hangup(3, 2, 1).call()
    assert [(q.outcome, q.party and q.party.number) for q in call.queues] == [("abandoned", "5550101")]
