"""Calls as other systems record them: other drivers and ids, older events, and missing classes."""

from typing import Any

import pytest

from schemas.call_settings import CallSettings
from tests.projections.calls.story.scenes import MEMBER, blind, queue
from tests.support.calls import CallTable
from tests.support.folding import ListSnapshot, own
from tests.support.scene import DOWN, HOLDING, RINGING, UP, Scene, uid


class ForeignScene(Scene):
    """A scene in which other values stand for some, and some headers are missing."""

    def __init__(self, values: dict[str, str], without: str = "-") -> None:
        super().__init__()
        self.values = values
        self.without = without

    def emit(self, event: str, **headers: Any) -> Scene:
        shown = {name: self.values.get(value, value) for name, value in headers.items() if self.without not in name}
        return super().emit(event, **shown)


def over_a_local_channel(scene: Scene) -> Scene:
    """100 calls 101, who is behind a Local channel."""
    scene.new(1, "SIP/100-00000001", "100", exten="300").local(2, 3, "Local/101@group-0001", linked=1).dial(1, 2)
    return scene.ring(3, 4, "IAX2/101-4242", "101", linked=1)


def talk_and_end(scene: Scene) -> Scene:
    scene.answer(3, 4, "b2").answer(1, 2, "b1").wait(6).request(1)
    return scene.leave(1, "b1").leave(2, "b1").leave(3, "b2").leave(4, "b2").hangup(1, 2, 3, 4)


def test_old_events_have_no_linked_id() -> None:
    """AMI shows linked ids since Asterisk 13.8 or so; dials, Local channels and bridges join channels too."""
    call = talk_and_end(over_a_local_channel(ForeignScene({}, without="inkedid"))).call()
    assert (call.linkedid, call.outcome, call.dialled.number) == (uid(1), "answered", "300")
    assert [(r.from_ and r.from_.endpoint, r.to.endpoint) for r in call.rings] == [("SIP/100", "IAX2/101")]
    assert [[p.number for p in talk.parties] for talk in call.conversations] == [["100", "101"]]


def test_ids_of_a_named_system() -> None:
    scene = ForeignScene({uid(n): f"my-pbx-{uid(n)}" for n in (9, 10)})
    scene.new(10, "DAHDI/i1/5551212-3", "5551212", exten="1").new(9, "SIP/101-00000009", "101", exten="1")
    call = scene.state(9, UP).state(10, UP).enter(10, "b").enter(9, "b").wait(2).part(9, 10).call()
    assert (call.linkedid, call.aliases) == (f"my-pbx-{uid(9)}", [f"my-pbx-{uid(10)}"])
    assert [party.endpoint for party in call.parties] == ["DAHDI/i1/5551212", "SIP/101"]


@pytest.mark.parametrize(("older", "linkedid"), [(1, "click-to-dial"), (2, uid(2))])
def test_an_id_without_time_has_its_channels_age(older: int, linkedid: str) -> None:
    """A program named the channel; Asterisk compares when the channels were created."""
    scene, younger = ForeignScene({uid(1): "click-to-dial"}), 3 - older
    scene.new(older, f"PJSIP/10{older}-1", f"10{older}", exten="1").wait(0.3)
    scene.new(younger, f"PJSIP/10{younger}-2", f"10{younger}", exten="1").state(1, UP).state(2, UP)
    call = scene.enter(1, "b").enter(2, "b").link(older, 1, 2).wait(2).part(1, 2).call()
    assert (call.linkedid, call.aliases) == (linkedid, [uid(2) if older == 1 else "click-to-dial"])


def test_a_later_id_without_a_time_is_older() -> None:
    """The link began after the call of that id."""
    scene = ForeignScene({uid(7): "click-to-dial"}).new(2, "PJSIP/100-2", "100", exten="1")
    call = scene.link(7, 2).state(2, UP).hangup(2).call()
    assert (call.linkedid, call.aliases) == ("click-to-dial", [uid(2)])


def test_a_masquerade_makes_a_person_of_a_tool() -> None:
    """Asterisk before 13 masquerades the channel that continues in the dialplan: its unique id is another one."""
    scene = Scene().new(1, "SIP/trunk-00000001", "5550101", exten="600").state(1, UP).wait(3)
    scene.new(3, "AsyncGoto/SIP/trunk-00000001", "5550101", exten="700", linked=1, state=UP)
    for channel, name in ((1, "{}<MASQ>"), (3, "{}"), (1, "AsyncGoto/{}<ZOMBIE>")):
        scene.emit("Rename", Channel="x", Newname=name.format("SIP/trunk-00000001"), Uniqueid=uid(channel))
    scene.hangup(1).run(3, "Dial", "SIP/101", exten="700")
    call = scene.ring(3, 4, "SIP/101-00000004", "101", linked=1).answer(3, 4, "b").wait(6).part(3, 4).call()
    assert [(p.endpoint, p.role, p.answered) for p in call.parties] == [
        ("SIP/trunk", "caller", False),
        ("SIP/trunk", "caller", True),
        ("SIP/101", "callee", True),
    ]
    assert [(r.from_ and r.from_.endpoint, r.outcome) for r in call.rings] == [("SIP/trunk", "answered")]


def test_the_dialler_shows_its_extension() -> None:
    """The class dialplan is missing, and Newchannel comes before the digits: a DAHDI phone, an Originate."""
    scene = Scene().new(1, "DAHDI/1-1", "100", exten="s")
    scene.channels[1]["Exten"] = "95551212"
    call = scene.ring(1, 2, "DAHDI/i1/5551212-2", "", linked=1).answer(1, 2, "b").part(1, 2).call()
    assert (call.dialled.number, call.dialled.context) == ("95551212", "internal")
    scene = Scene().new(1, "DAHDI/1-1", "100", exten="s").state(1, UP)
    scene.channels[1]["Exten"] = "600"
    assert queue(scene, "QueueCallerJoin", Position=1).hangup(1).call().dialled.number == "600"


def test_a_transferers_extension_was_not_dialled() -> None:
    """An analogue line has the extension s alone."""
    scene = Scene().new(1, "DAHDI/4-1", exten="s").run(1, "Dial", "SIP/101")
    scene.ring(1, 2, "SIP/101-00000002", "101", linked=1).answer(1, 2, "b").wait(5)
    blind(scene, by=2, transferee=1, to="107").leave(2, "b").hangup(2).leave(1, "b").run(1, "Dial", exten="107")
    call = scene.ring(1, 3, "SIP/107-00000003", "107", linked=1).answer(1, 3, "b2").part(3, 1, bridge="b2").call()
    assert (call.dialled.number, call.transfers[0].number) == (None, "107")


def test_a_caller_id_set_while_waiting_counts() -> None:
    """A holding bridge is neither a dial nor a queue: a Stasis application may set the number after it."""
    scene = Scene().new(1, "PJSIP/trunk-00000001", "0301", exten="5550100").state(1, UP)
    scene.enter(1, "h", **HOLDING).number(1, "+49301", "Ann").leave(1, "h", **HOLDING)
    call = scene.ring(1, 2, "PJSIP/101-00000002", "101", linked=1).number(1, "999").hangup(2, 1).call()
    assert call.caller is not None
    assert (call.caller.number, call.caller.name, call.caller.number_at_start) == ("+49301", "Ann", "0301")


def test_a_phone_that_the_pbx_rang() -> None:
    """Originate gives the phone the caller id that the other side is to see; it counts for a caller alone."""
    scene = Scene().new(1, "PJSIP/100-00000001", "100", state=DOWN).number(1, "5550000", "Us").dial(None, 1, "100")
    unanswered = scene.state(1, RINGING).call()
    assert (unanswered.caller, unanswered.rings[0].to.number) == (None, "100")
    answered = scene.state(1, UP).dial_end(None, 1, "ANSWER").hangup(1).call()
    assert answered.caller is not None
    assert (answered.caller.number, answered.caller.number_at_start) == ("5550000", "100")


def test_an_application_rings_the_callee() -> None:
    """Two channels of a Stasis application: the second one shows the number of the first."""
    scene = Scene().new(1, "PJSIP/trunk-00000001", "0301", exten="600").state(1, UP)
    scene.new(2, "PJSIP/101-00000002", "101", state=DOWN).number(2, "0301").dial(None, 2, "101").state(2, UP)
    scene.dial_end(None, 2, "ANSWER").enter(1, "b", BridgeType="stasis").enter(2, "b", BridgeType="stasis")
    call = scene.wait(4).part(1, 2).call()
    assert call.caller is not None
    assert call.answered_by is not None
    assert (call.caller.number, call.originated, call.answered_by.number) == ("0301", False, "101")
    assert [(r.from_, r.to.number) for r in call.rings] == [(None, "101")]


@pytest.mark.parametrize(
    ("forward", "number"),
    [
        ("Local/107@internal/n", "107"),
        ("PJSIP/5551212@trunk", "5551212"),
        ("IAX2/user@host/5551212", "5551212"),
        ("107", "107"),
    ],
)
def test_a_forward_names_a_number(forward: str, number: str) -> None:
    scene = Scene().new(1, "SIP/100-00000001", "100", exten="101").ring(1, 2, "SIP/101-00000002", "101", linked=1)
    call = scene.dial_end(1, 2, "CANCEL", Forward=forward).hangup(2, 1).call()
    assert [one.to for one in call.forwards] == [number]


def test_a_local_half_is_no_party() -> None:
    """The dialplan records, and picks up, on a half of a Local channel: the person behind it counts."""
    scene = over_a_local_channel(Scene())
    scene.var(3, "MIXMONITOR_FILENAME", "/monitor/a.wav").emit("MixMonitorStart", **scene.shown(3)).state(3, UP)
    (recording,) = talk_and_end(scene).call().recordings
    assert (recording.path, recording.party.number) == ("/monitor/a.wav", "100")
    scene = Scene().new(1, "PJSIP/trunk-00000001", "1", exten="1").ring(1, 2, "PJSIP/102-2", "102", linked=1)
    scene.new(5, "PJSIP/105-00000005", "105", exten="77").local(6, 7, "Local/pick@group-0001", linked=5).dial(5, 6)
    scene.emit("Pickup", **scene.shown(7), **scene.shown(2, "Target")).dial_end(1, 7, "ANSWER").hangup(2, cause=26)
    call = scene.link(1, 7).enter(7, "b").enter(1, "b").enter(6, "b2").enter(5, "b2").hangup(1, 7, 6, 5).call()
    assert [(one.by.number, one.of.number) for one in call.pickups] == [("105", "102")]


def test_a_call_back_waits_in_the_queue() -> None:
    """Originate of a Local channel: one half waits in the queue, the other one dials the customer after the answer."""
    scene = Scene().local(1, 2, "Local/600@queues-0001", linked=1).dial(None, 1, "600@queues")
    scene.var(2, "MIXMONITOR_FILENAME", "/monitor/b.wav").emit("MixMonitorStart", **scene.shown(2))
    queue(scene, "QueueCallerJoin", 2, Position=1).new(3, "PJSIP/101-00000003", "101", linked=1, state=DOWN)
    queue(scene, "AgentCalled", 2, 3, **MEMBER).dial(2, 3, "PJSIP/101").state(3, UP).dial_end(2, 3, "ANSWER")
    queue(queue(scene, "QueueCallerLeave", 2), "AgentConnect", 2, 3, **MEMBER, HoldTime=3, RingTime=1)
    scene.enter(3, "b").state(2, UP).enter(2, "b").state(1, UP).dial_end(None, 1, "ANSWER")
    scene.ring(1, 4, "PJSIP/trunk-00000004", "555", linked=1).answer(1, 4, "b4").wait(9).request(3)
    call = scene.leave(3, "b").leave(2, "b").leave(1, "b4").leave(4, "b4").hangup(3, 2, 1, 4).call()
    assert (call.originated, call.queues[0].party, call.recordings[0].party.number) == (True, None, "101")
    assert [[p.number for p in talk.parties] for talk in call.conversations] == [["101", "555"]]
    assert [(p.number, p.role) for p in call.parties] == [("101", "agent"), ("555", "callee")]


def test_an_agent_who_logged_off_calls_like_anybody() -> None:
    scene = Scene().new(1, "PJSIP/101-00000001", "101", exten="800").run(1, "AgentLogin", "1001")
    scene.emit("AgentLogin", **scene.shown(1), Agent="1001").state(1, UP).wait(100)
    scene.emit("AgentLogoff", **scene.shown(1), Agent="1001", Logintime=100).run(1, "Dial", "PJSIP/102", exten="102")
    call = scene.ring(1, 2, "PJSIP/102-00000002", "102", linked=1).answer(1, 2, "b").wait(4).part(1, 2).call()
    assert [(p.number, p.role) for p in call.parties] == [("101", "caller"), ("102", "callee")]
    assert [[p.number for p in talk.parties] for talk in call.conversations] == [["101", "102"]]


def test_a_list_pairs_the_halves_of_local_channels() -> None:
    """LocalBridge came before the link; the halves have one name but for the last digit."""
    scene = talk_and_end(over_a_local_channel(Scene()))
    bridges = {1: ("b1", "Dial"), 2: ("b1", "AppDial"), 3: ("b2", "Dial"), 4: ("b2", "AppDial")}
    listing = ListSnapshot("CoreShowChannels", 7, scene.now - 5)
    items = [
        listing.item("CoreShowChannel", **scene.shown(n), BridgeId=bridge, Application=runs, Duration="00:00:30")
        for n, (bridge, runs) in bridges.items()
    ]
    ends = [event for event in scene.events if event.name in {"HangupRequest", "BridgeLeave", "Hangup"}]
    scene.events = [listing.start, *items, listing.end, listing.over, *ends]
    call = scene.call()
    assert (call.complete, call.outcome, call.dialled.number) == (False, "answered", "300")
    assert [[p.number for p in talk.parties] for talk in call.conversations] == [["100", "101"]]
    settings = own(CallSettings(trunks=("IAX2/*",)), scene.now)
    assert CallTable().take(settings, scene.events).call().direction == "outbound"
