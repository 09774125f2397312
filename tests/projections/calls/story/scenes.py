"""Parts of scenes: callers in a queue, and transfers."""

from tests.support.scene import RINGING, UP, Scene

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
