"""Passages through queues, and sessions of agents."""

from typing import Any

import pytest
from msgspec.structs import replace

from schemas.calls import Call, Passage
from tests.projections.calls.story.scenes import MEMBER, blind, complete, connected, queue, rung, waiting
from tests.support.scene import RINGING, UP, Scene, uid

AGENT_HOLD: dict[str, Any] = {
    "BridgeType": "agent_hold",
    "BridgeTechnology": "holding_bridge",
    "BridgeCreator": "AgentPool",
}


def left(scene: Scene, hold: int = 10, caller: int = 1) -> Scene:
    return queue(queue(scene, "QueueCallerAbandon", caller, HoldTime=hold), "QueueCallerLeave", caller, Count=0)


def passage(scene: Scene) -> Passage:
    (match,) = scene.call().queues
    return match


def test_a_caller_hangs_up() -> None:
    scene = left(waiting().request(1), hold=11).run(1, "NoOp", exten="h").hangup(1)
    match = passage(scene)
    assert (match.queue, match.party and match.party.number, match.position) == ("sales", "5550101", 1)
    assert (match.outcome, match.wait_seconds, match.talk_seconds, match.agent) == ("abandoned", 11, None, None)
    assert scene.call().outcome == "abandoned"


def test_a_hangup_without_its_request() -> None:
    assert passage(left(waiting()).hangup(1)).outcome == "abandoned"
    assert passage(left(waiting()).run(1, "NoOp", exten="h").hangup(1)).outcome == "abandoned"
    assert passage(left(waiting(dialplan=False)).hangup(1)).outcome == "unknown"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("TIMEOUT", "timeout"), ("WITHDRAW", "withdrawn"), ("LEAVEEMPTY", "left_empty"), ("LEAVEUNAVAIL", "left_empty")],
)
def test_asterisks_word_for_the_end(status: str, outcome: str) -> None:
    scene = left(waiting(), hold=25)
    assert passage(scene).outcome is None
    scene.var(1, "QUEUESTATUS", status).run(1, "Hangup").emit("SoftHangupRequest", **scene.shown(1)).hangup(1)
    assert (passage(scene).outcome, passage(scene).wait_seconds) == (outcome, 25)
    assert scene.call().outcome == ("timeout" if outcome == "timeout" else "pbx_only")


@pytest.mark.parametrize(
    ("status", "outcome"), [("FULL", "full"), ("JOINEMPTY", "join_empty"), ("JOINUNAVAIL", "join_empty")]
)
def test_callers_may_be_refused_by_a_queue(status: str, outcome: str) -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="603").run(1, "Queue", "empty,,,,6")
    match = passage(scene.var(1, "QUEUESTATUS", status).run(1, "Hangup").hangup(1))
    assert (match.queue, match.outcome, match.wait_seconds, match.position) == ("empty", outcome, None, None)


def test_a_key_takes_a_caller_out() -> None:
    match = passage(queue(waiting(7), "QueueCallerLeave", Count=0).run(1, "Goto", exten="9").hangup(1))
    assert (match.outcome, match.key, match.wait_seconds) == ("exit_key", "9", 7)


def test_why_a_caller_left_may_stay_unknown() -> None:
    assert passage(left(waiting()).run(1, "Playback", exten="700").hangup(1)).outcome == "unknown"


def test_a_redirect_takes_a_waiting_caller_out() -> None:
    """Asterisk 22 sends no Newexten after QueueCallerAbandon, but one before it."""
    call = left(waiting(7).run(1, "Queue", "sales,t,,,25", exten="700"), 7).request(1).hangup(1).call()
    assert [(q.outcome, q.wait_seconds) for q in call.queues] == [("unknown", 7)]
    assert call.outcome == "pbx_only"


def test_another_place_in_the_same_queue_changes_nothing() -> None:
    """Newexten shows the queue also of a channel that takes the caller's place."""
    assert passage(left(waiting().run(1, "Queue", "sales,t,,,25")).hangup(1)).outcome == "abandoned"


def test_a_member_answers() -> None:
    scene = complete(connected(rung(waiting())).wait(8).request(1), 8, "caller")
    call = scene.part(1, 2).call()
    (match,) = call.queues
    assert (match.outcome, match.wait_seconds, match.talk_seconds, match.ended_by) == ("answered", 13, 8, "caller")
    assert match.agent is not None
    assert (match.agent.name, match.agent.interface) == ("Bob Baker", "PJSIP/101")
    assert [(r.to.number, r.queue, r.outcome) for r in call.rings] == [("101", "sales", "answered")]
    assert [(p.number, p.role) for p in call.parties] == [("5550101", "caller"), ("101", "agent")]
    assert match.answered_at is not None


def test_states_in_a_queue() -> None:
    scene = rung(waiting())
    assert scene.call().state == "waiting"
    assert connected(scene).call().state == "talking"


def test_a_member_does_not_answer() -> None:
    scene = rung(waiting()).dial_end(1, 2, "NOANSWER")
    queue(scene, "AgentRingNoAnswer", 1, 2, **MEMBER, RingTime=3000).hangup(2)
    scene = complete(connected(rung(scene, 3), 3).wait(4), 4, "agent", 3).part(3, 1)
    call = scene.call()
    assert (call.queues[0].ring_no_answers, call.queues[0].ended_by) == (1, "agent")
    assert [r.outcome for r in call.rings] == ["no_answer", "answered"]


def test_the_same_queue_twice_and_another_one() -> None:
    scene = left(waiting(10)).var(1, "QUEUESTATUS", "TIMEOUT").run(1, "Queue", "sales")
    queue(scene, "QueueCallerJoin", Position=2).wait(5)
    left(scene, 5).var(1, "QUEUESTATUS", "TIMEOUT").run(1, "Queue", "support")
    queue(scene, "QueueCallerJoin", Queue="support", Position=1).wait(3).request(1)
    queue(scene, "QueueCallerAbandon", Queue="support", HoldTime=3)
    call = queue(scene, "QueueCallerLeave", Queue="support").hangup(1).call()
    assert [(q.queue, q.outcome, q.wait_seconds) for q in call.queues] == [
        ("sales", "timeout", 10),
        ("sales", "timeout", 5),
        ("support", "abandoned", 3),
    ]


def test_a_transfer_by_feature_code_ends_agents_talk() -> None:
    scene = connected(rung(waiting())).wait(6)
    scene.local(3, 4, "Local/107@internal-0001", linked=1).enter(3, "b2").leave(2, "b").enter(2, "b2")
    scene.ring(4, 5, "PJSIP/107-00000005", "107", linked=1).answer(4, 5, "b3").state(3, UP).wait(2)
    scene.request(2).leave(2, "b2").leave(3, "b2").enter(3, "b")
    both = scene.shown(2, "OrigTransferer") | scene.shown(2, "SecondTransferer")
    names = scene.shown(1, "Transferee") | scene.shown(3, "TransferTarget")
    scene.emit("AttendedTransfer", Result="Success", **both, **names, OrigBridgeUniqueid="b", DestType="Bridge")
    scene.hangup(2).wait(60).request(1)
    call = (
        complete(scene, 68, "caller")
        .leave(1, "b")
        .leave(3, "b")
        .leave(4, "b3")
        .leave(5, "b3")
        .hangup(1, 3, 4, 5)
        .call()
    )
    (match,) = call.queues
    assert (round(match.talk_seconds or 0), match.ended_by) == (8, "transfer")
    assert [(t.kind, t.by.number, [p.number for p in t.to]) for t in call.transfers] == [("attended", "101", ["107"])]


LOCAL_MEMBER = {"Interface": "Local/101@members/n", "MemberName": "Bob Baker"}


def local_member() -> Scene:
    """Let a caller (channel 1) talk with a member (4) behind a Local channel (2, 3)."""
    scene = waiting().local(2, 3, "Local/101@members-0001", linked=1, optimize="No")
    queue(scene, "AgentCalled", 1, 2, **LOCAL_MEMBER).dial(1, 2, "Local/101@members/n")
    scene.ring(3, 4, "PJSIP/101-00000004", "101", linked=1).wait(2).answer(3, 4, "b2").state(2, UP)
    scene.dial_end(1, 2, "ANSWER")
    queue(scene, "QueueCallerLeave")
    return (
        queue(scene, "AgentConnect", 1, 2, **LOCAL_MEMBER, HoldTime=12, RingTime=2).enter(2, "b").enter(1, "b").wait(5)
    )


def test_the_person_behind_a_local_member() -> None:
    scene = queue(local_member(), "AgentComplete", 1, 2, **LOCAL_MEMBER, HoldTime=12, TalkTime=5, Reason="agent")
    call = scene.request(4).leave(4, "b2").leave(3, "b2").leave(2, "b").leave(1, "b").hangup(4, 3, 2, 1).call()
    assert [(r.to.number, r.queue, r.from_ and r.from_.number) for r in call.rings] == [("101", "sales", "5550101")]
    assert [(p.number, p.role) for p in call.parties] == [("5550101", "caller"), ("101", "agent")]
    assert call.queues[0].agent is not None
    assert call.queues[0].agent.interface == "Local/101@members/n"


def test_a_local_member_who_transfers_rings_no_member() -> None:
    scene = blind(local_member(), by=4, transferee=3, to="102").leave(4, "b2").leave(3, "b2").hangup(4)
    scene.ring(3, 5, "PJSIP/102-00000005", "102", linked=1).answer(3, 5, "b3").wait(4)
    queue(scene, "AgentComplete", 1, 2, **LOCAL_MEMBER, HoldTime=12, TalkTime=9, Reason="caller").request(1)
    call = scene.leave(1, "b").leave(2, "b").leave(3, "b3").leave(5, "b3").hangup(1, 2, 3, 5).call()
    assert [(r.to.number, r.queue) for r in call.rings] == [("101", "sales"), ("102", None)]
    assert (round(call.queues[0].talk_seconds or 0), call.queues[0].ended_by) == (5, "transfer")
    assert [[p.number for p in talk.parties] for talk in call.conversations] == [
        ["5550101", "101"],
        ["5550101", "102"],
    ]


def test_a_caller_behind_a_local_channel() -> None:
    scene = Scene().new(1, "PJSIP/100-00000001", "100", exten="700").local(2, 3, "Local/600@q-0001", linked=1)
    scene.dial(1, 2).run(3, "Queue", "sales")
    queue(scene, "QueueCallerJoin", 3, Position=1).wait(5)
    left(scene, 5, 3).var(3, "QUEUESTATUS", "TIMEOUT").run(3, "Hangup").hangup(3, 2, 1)
    match = passage(scene)
    assert (match.party and match.party.number, match.outcome, match.wait_seconds) == ("100", "timeout", 5)


def test_a_bridge_takes_a_waiting_caller_out() -> None:
    scene = waiting(5).new(2, "PJSIP/102-00000002", "102").state(2, UP).enter(2, "b").enter(1, "b").link(1, 2).wait(3)
    match = passage(scene.part(1, 2))
    assert (match.outcome, match.wait_seconds, match.left_at is not None) == ("unknown", 5, True)


def test_a_local_member_may_dial_before_queue_events() -> None:
    scene = waiting().local(2, 3, "Local/101@members-0001", linked=1, optimize="No")
    scene.ring(3, 4, "PJSIP/101-00000004", "101", linked=1)
    queue(scene, "AgentCalled", 1, 2, Interface="Local/101@members/n", MemberName="Bob").dial(
        1, 2, "Local/101@members/n"
    )
    (ring,) = scene.wait(2).request(1).dial_end(3, 4, "CANCEL").hangup(4, 3, 2, 1).call().rings
    assert (ring.from_ and ring.from_.number, ring.queue, ring.outcome) == ("5550101", "sales", "cancelled")


def test_connect_without_the_beginning() -> None:
    scene = Scene().new(1, "PJSIP/trunk-00000001", "5550101", exten="600").wait(20)
    scene.new(2, "PJSIP/101-00000002", "101", linked=1, state=0).dial(1, 2).state(2, UP).dial_end(1, 2, "ANSWER")
    queue(scene, "AgentConnect", 1, 2, **MEMBER, HoldTime=9, RingTime=3).enter(2, "b").enter(1, "b").wait(2)
    match = passage(scene.part(1, 2))
    assert match.answered_at is not None
    assert (round((match.answered_at - match.entered_at).total_seconds()), match.outcome) == (9, "answered")
    assert round(match.talk_seconds or 0) == 2


def session(scene: Scene) -> Scene:
    """Let the agent 1001 log in on channel 1, which waits in bridge ``hold``."""
    scene.new(1, "PJSIP/104-00000001", "104", exten="211001").run(1, "AgentLogin", "1001").state(1, UP)
    scene.emit("AgentLogin", **scene.shown(1), Agent="1001")
    return scene.enter(1, "hold", **AGENT_HOLD).wait(60)


def served(scene: Scene, caller: int) -> Scene:
    """Let a caller of the queue talk with the agent, whose id the caller's Local half takes over."""
    one, two = caller + 1, caller + 2
    scene.new(caller, f"PJSIP/109-0000000{caller}", "109", exten="600").run(caller, "Queue", "billing").state(
        caller, UP
    )
    queue(scene, "QueueCallerJoin", caller, Queue="billing", Position=1)
    scene.local(one, two, f"Local/1001@agents-000{caller}", linked=caller, optimize="No")
    local = {"Queue": "billing", "Interface": "Local/1001@agents/n", "MemberName": "Agent Ann"}
    queue(scene, "AgentCalled", caller, one, **local).dial(caller, one, "Local/1001@agents/n")
    scene.enter(two, f"b{two}").wait(1).leave(1, "hold", **AGENT_HOLD).enter(1, f"b{two}").link(1, two)
    scene.state(two, UP).state(one, UP).dial_end(caller, one, "ANSWER")
    queue(scene, "QueueCallerLeave", caller, Queue="billing")
    queue(scene, "AgentConnect", caller, one, **local, HoldTime=1, RingTime=1)
    scene.enter(one, f"b{one}").enter(caller, f"b{one}").wait(5).request(caller)
    queue(scene, "AgentComplete", caller, one, **local, HoldTime=1, TalkTime=5, Reason="caller")
    scene.leave(caller, f"b{one}").leave(one, f"b{one}").hangup(one, caller).leave(two, f"b{two}")
    return scene.leave(1, f"b{two}").enter(1, "hold", **AGENT_HOLD).hangup(two).wait(10)


def test_a_session_is_no_call() -> None:
    scene = served(served(session(Scene()), 2), 5)
    scene.emit("AgentLogoff", **scene.shown(1), Agent="1001", Logintime=80).leave(1, "hold", **AGENT_HOLD).hangup(1)
    calls = scene.calls()
    assert {linkedid: call.aliases for linkedid, call in calls.items()} == {uid(1): [], uid(2): [], uid(5): []}
    login = calls[uid(1)]
    assert (login.conversations, login.rings, login.outcome) == ([], [], "pbx_only")
    for linkedid in (uid(2), uid(5)):
        check_served(calls[linkedid])


def check_served(call: Call) -> None:
    assert [(p.number, p.role, p.answered) for p in call.parties] == [("109", "caller", True), ("104", "agent", True)]
    assert [sorted(p.number or "" for p in talk.parties) for talk in call.conversations] == [["104", "109"]]
    (match,) = call.queues
    assert (match.agent and match.agent.name, match.talk_seconds, match.ended_by) == ("Agent Ann", 5, "caller")
    assert (call.answered_by and call.answered_by.number, call.outcome) == ("104", "answered")


def test_an_agent_who_ends_the_call_hung_up() -> None:
    scene = served(session(Scene()), 2)
    scene.events = [event for event in scene.events if event.name != "HangupRequest"]
    text = [event.raw.replace(b"Reason: caller", b"Reason: agent") for event in scene.events]
    scene.events = [replace(event, raw=raw) for event, raw in zip(scene.events, text, strict=True)]
    hangup = scene.calls()[uid(2)].hangup
    assert hangup is not None
    assert (hangup.by, hangup.party and hangup.party.number) == ("callee", "104")


def test_an_agent_who_ended_it_is_named_late() -> None:
    scene = served(session(Scene()), 2)
    scene.events = [event for event in scene.events if event.name != "HangupRequest"]
    text = [event.raw.replace(b"Reason: caller", b"Reason: agent") for event in scene.events]
    scene.events = [replace(event, raw=raw) for event, raw in zip(scene.events, text, strict=True)]
    early = scene.calls()[uid(2)]
    scene.events.sort(key=lambda event: event.name == "AgentComplete")
    assert scene.calls()[uid(2)] == early


def test_a_late_completion_may_name_no_channel() -> None:
    """Asterisk 16 names neither channel after the caller's hangup."""
    scene = served(session(Scene()), 2)
    early = scene.calls()[uid(2)]
    assert early.queues[0].ended_by == "caller"
    scene.events.sort(key=lambda event: event.name == "AgentComplete")
    last = scene.events[-1]
    own = b"".join(
        line for line in last.raw.splitlines(keepends=True) if b"niqueid" not in line and b"inkedid" not in line
    )
    scene.events[-1] = replace(last, raw=own)
    assert scene.calls()[uid(2)] == early


def test_a_late_completion_may_show_the_session() -> None:
    """The caller's channel may have the linked id of the agent's session, which lasts."""
    scene = served(session(Scene()), 2)
    early = scene.calls()[uid(2)]
    scene.events.sort(key=lambda event: event.name == "AgentComplete")
    last = scene.events[-1]
    own, of_session = (f"Linkedid: {uid(channel)}\r\n".encode() for channel in (2, 1))
    assert own in last.raw
    scene.events[-1] = replace(last, raw=last.raw.replace(own, of_session))
    assert scene.calls()[uid(2)] == early


def test_a_session_that_moves_to_another_channel() -> None:
    scene = session(Scene()).new(2, "PJSIP/105-00000002", "105", exten="211001").state(2, UP)
    scene.enter(2, "hold", swap=1, **AGENT_HOLD).hangup(1).wait(5).hangup(2)
    assert {linkedid: call.conversations for linkedid, call in scene.calls().items()} == {uid(1): [], uid(2): []}


def test_a_session_younger_than_the_call() -> None:
    scene = Scene().new(1, "PJSIP/109-00000001", "109", exten="600").run(1, "Queue", "billing").state(1, UP)
    queue(scene, "QueueCallerJoin", Queue="billing", Position=1).wait(5)
    scene.new(2, "PJSIP/104-00000002", "104", exten="211001").run(2, "AgentLogin", "1001").state(2, UP)
    scene.enter(2, "hold", **AGENT_HOLD).local(3, 4, "Local/1001@agents-0001", linked=1, optimize="No").dial(1, 3)
    scene.enter(4, "b4").leave(2, "hold", **AGENT_HOLD).enter(2, "b4").link(1, 2).state(4, UP).state(3, UP)
    scene.dial_end(1, 3, "ANSWER").enter(3, "b3").enter(1, "b3").wait(4).emit("Hold", **scene.shown(2)).wait(1)
    scene.request(1).leave(1, "b3").leave(3, "b3").leave(4, "b4").leave(2, "b4").enter(2, "hold", **AGENT_HOLD)
    calls = scene.hangup(1, 3, 4).wait(9).request(2).hangup(2).calls()
    assert {linkedid: call.aliases for linkedid, call in calls.items()} == {uid(1): [], uid(2): []}
    assert [[p.number for p in talk.parties] for talk in calls[uid(1)].conversations] == [["109", "104"]]
    assert [(hold.by.number, hold.until is not None) for hold in calls[uid(1)].holds] == [("104", True)]
    assert (calls[uid(2)].conversations, calls[uid(2)].holds) == ([], [])
    assert calls[uid(2)].legs[0].linkedids == [uid(2), uid(1)]


def test_a_session_ends_when_its_last_phone_moves() -> None:
    scene = session(Scene()).new(2, "PJSIP/109-00000002", "109", exten="600").state(2, UP)
    scene.local(3, 4, "Local/105@internal-0001", linked=2, optimize="No").dial(2, 3)
    scene.new(5, "PJSIP/105-00000005", "105", linked=1, state=0).leave(1, "hold", **AGENT_HOLD).hangup(1)
    scene.dial(4, 5).state(5, RINGING).wait(3).dial_end(4, 5, "NOANSWER").hangup(5, 4, 3, 2)
    calls = scene.calls()
    assert [(call.state, len(call.legs)) for call in calls.values()] == [("ended", 1), ("ended", 4)]
    assert [(r.from_ and r.from_.number, r.to.number) for r in calls[uid(2)].rings] == [("109", "105")]


def test_an_agent_transfers_his_caller() -> None:
    scene = session(Scene()).new(2, "PJSIP/109-00000002", "109", exten="600").state(2, UP)
    scene.local(3, 4, "Local/1001@agents-0001", linked=2, optimize="No").dial(2, 3).enter(4, "b4")
    scene.leave(1, "hold", **AGENT_HOLD).enter(1, "b4").link(1, 4).state(4, UP).state(3, UP).dial_end(2, 3, "ANSWER")
    scene.enter(3, "b3").enter(2, "b3").wait(5)
    names = scene.shown(1, "Transferer") | scene.shown(4, "Transferee")
    scene.emit("BlindTransfer", Result="Success", **names, Extension="105", Context="internal")
    scene.leave(1, "b4").leave(4, "b4").enter(1, "hold", **AGENT_HOLD)
    scene.ring(4, 5, "PJSIP/105-00000005", "105", linked=1).answer(4, 5, "b5").wait(4).request(2)
    scene.leave(2, "b3").leave(3, "b3").leave(4, "b5").leave(5, "b5").hangup(2, 3, 4, 5)
    call = scene.calls()[uid(2)]
    (transfer,) = call.transfers
    assert (transfer.by.number, transfer.transferee and transfer.transferee.number) == ("104", "109")
    assert ([p.number for p in transfer.to], transfer.outcome) == (["105"], "answered")
    assert [(r.from_ and r.from_.number, r.to.number) for r in call.rings] == [("109", "105")]
    assert scene.calls()[uid(1)].rings == []
