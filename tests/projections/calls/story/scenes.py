"""Parts of scenes: callers in a queue, transfers and parking; and what calls have of these."""

from typing import Any

from schemas.calls import Call
from tests.support.scene import HOLDING, RINGING, UP, Scene

MEMBER = {"Interface": "PJSIP/101", "MemberName": "Bob Baker"}


def queue(scene: Scene, event: str, caller: int = 1, member: int | None = None, **more: object) -> Scene:
    return scene.emit(event, **scene.shown(caller), **scene.shown(member, "Dest"), **({"Queue": "sales"} | more))


def waiting(seconds: float = 10, *, dialplan: bool = True) -> Scene:
    """Let a caller from the trunk (channel 1) wait in the queue ``sales``."""
    scene = Scene().new(1, "PJSIP/trunk-00000001", "5550101", exten="600").state(1, UP)
    if dialplan:
        scene.run(1, "Queue", "sales,t,,,25")
    return queue(scene, "QueueCallerJoin", Position=1, Count=1).wait(seconds)


def rung(scene: Scene, member: int = 2) -> Scene:
    name = f"PJSIP/10{member - 1}-0000000{member}"
    scene.new(member, name, f"10{member - 1}", linked=1, state=0)
    return queue(scene, "AgentCalled", 1, member, **MEMBER).dial(1, member, name).state(member, RINGING).wait(3)


def connected(scene: Scene, member: int = 2, hold: int = 13) -> Scene:
    scene.state(member, UP).dial_end(1, member, "ANSWER")
    queue(scene, "QueueCallerLeave", Count=0)
    queue(scene, "AgentConnect", 1, member, **MEMBER, HoldTime=hold, RingTime=3)
    return scene.enter(member, "b").enter(1, "b")


def complete(scene: Scene, talk: int, reason: str, member: int = 2) -> Scene:
    return queue(scene, "AgentComplete", 1, member, **MEMBER, HoldTime=13, TalkTime=talk, Reason=reason)


def blind(scene: Scene, *, by: int, transferee: int | None, to: str) -> Scene:
    facts = scene.shown(by, "Transferer") | scene.shown(transferee, "Transferee")
    return scene.emit(
        "BlindTransfer",
        Result="Success",
        **facts,
        BridgeUniqueid="b",
        IsExternal="Yes",
        Context="internal",
        Extension=to,
    )


def handed_on() -> Scene:
    """Let the agent hand his caller on by feature code; AgentComplete comes when that talk ends, a minute later."""
    scene = connected(rung(waiting())).wait(6)
    scene.local(3, 4, "Local/107@internal-0001", linked=1).enter(3, "b2").leave(2, "b").enter(2, "b2")
    scene.ring(4, 5, "PJSIP/107-00000005", "107", linked=1).answer(4, 5, "b3").state(3, UP).wait(2)
    scene.request(2).leave(2, "b2").leave(3, "b2").enter(3, "b")
    both = scene.shown(2, "OrigTransferer") | scene.shown(2, "SecondTransferer")
    names = scene.shown(1, "Transferee") | scene.shown(3, "TransferTarget")
    scene.emit("AttendedTransfer", Result="Success", **both, **names, OrigBridgeUniqueid="b", DestType="Bridge")
    scene.hangup(2).wait(60).request(1)
    scene = complete(scene, 68, "caller").leave(1, "b").leave(3, "b").leave(4, "b3").leave(5, "b3")
    return scene.hangup(1, 3, 4, 5)


def talks(call: Call) -> list[list[str | None]]:
    return [[p.number for p in talk.parties] for talk in call.conversations]


def numbers(call: Call) -> list[tuple[Any, ...]]:
    return [
        (t.kind, t.by.number, t.transferee and t.transferee.number, [p.number for p in t.to], t.number, t.outcome)
        for t in call.transfers
    ]


def attended(scene: Scene, first: int, second: int, **more: object) -> Scene:
    facts = scene.shown(first, "OrigTransferer") | scene.shown(second, "SecondTransferer")
    return scene.emit("AttendedTransfer", **({"Result": "Success", "OrigBridgeUniqueid": "b"} | facts | more))


def parked(scene: Scene) -> Scene:
    scene.leave(2, "b").enter(2, "lot", **HOLDING).leave(1, "b").hangup(1)
    return park_event(scene, "ParkedCall").wait(3)


def park_event(scene: Scene, event: str, **more: object) -> Scene:
    place = {"ParkerDialString": "PJSIP/100", "Parkinglot": "default", "ParkingSpace": "701"}
    return scene.emit(event, **scene.shown(2, "Parkee"), **place, **more)
