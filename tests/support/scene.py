"""A scene: the AMI blocks of a call as Asterisk 22 sends them, written by the few facts in which calls differ."""

from typing import Any

from projections.calls.story.call_machine import CallMachine
from schemas.calls import Call
from schemas.log import NewEvent
from tests.support.calls import CallTable
from tests.support.folding import ListSnapshot, block, own

RING, DOWN, RINGING, UP = 4, 0, 5, 6
BEGIN = 1795309000.0


class Scene:
    """Events in order. ``now`` is the PBX's clock; a channel is named by its counter, as in ``1795309000.7``."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.events: list[NewEvent] = []
        self.channels: dict[int, dict[str, Any]] = {}

    def wait(self, seconds: float) -> "Scene":
        """Let time go by."""
        self.now += seconds
        return self

    def emit(self, event: str, **headers: Any) -> "Scene":
        """Append an event; 10 microseconds go by."""
        self.events.append(block(event, self.now, **headers))
        self.now += 0.00001
        return self

    def shown(self, channel: int | None, prefix: str = "") -> dict[str, Any]:
        """Return the headers with which an event shows a channel, none for None."""
        if channel is None:
            return {}
        return {prefix + name: value for name, value in self.channels[channel].items()}

    def new(
        self,
        channel: int,
        name: str,
        number: str = "",
        *,
        exten: str = "s",
        linked: int | None = None,
        state: int = RING,
        of: str = "",
    ) -> "Scene":
        """Newchannel; ``of`` is the caller id's name, ``linked`` the counter of the linked id, its own by default."""
        self.channels[channel] = {
            "Channel": name,
            "ChannelState": state,
            "CallerIDNum": number or "<unknown>",
            "CallerIDName": of or "<unknown>",
            "AccountCode": "",
            "Context": "internal",
            "Exten": exten,
            "Uniqueid": uid(channel),
            "Linkedid": uid(channel if linked is None else linked),
        }
        return self.emit("Newchannel", **self.shown(channel))

    def link(self, linked: int, *channels: int) -> "Scene":
        """Show another linked id of these channels from the next event on."""
        for channel in channels:
            self.channels[channel]["Linkedid"] = uid(linked)
        return self

    def state(self, channel: int, state: int) -> "Scene":
        self.channels[channel]["ChannelState"] = state
        return self.emit("Newstate", **self.shown(channel))

    def number(self, channel: int, number: str, name: str = "") -> "Scene":
        self.channels[channel] |= {"CallerIDNum": number, "CallerIDName": name}
        return self.emit("NewCallerid", **self.shown(channel))

    def run(self, channel: int, application: str, data: str = "", exten: str = "") -> "Scene":
        """Newexten: the channel runs an application, at another extension if one is given."""
        if exten:
            self.channels[channel]["Exten"] = exten
        return self.emit("Newexten", **self.shown(channel), Application=application, AppData=data)

    def var(self, channel: int, name: str, value: str) -> "Scene":
        return self.emit("VarSet", **self.shown(channel), Variable=name, Value=value)

    def dial(self, by: int | None, to: int, string: str = "") -> "Scene":
        """DialBegin; by None it is the PBX's own dial."""
        return self.emit("DialBegin", **self.shown(to, "Dest"), **self.shown(by), DialString=string)

    def dial_end(self, by: int | None, to: int, status: str, **more: Any) -> "Scene":
        return self.emit("DialEnd", **self.shown(to, "Dest"), **self.shown(by), DialStatus=status, **more)

    def enter(self, channel: int, bridge: str, swap: int | None = None, **more: Any) -> "Scene":
        """BridgeEnter of a basic bridge, unless ``more`` gives other headers of it."""
        facts = bridge_of(bridge) | more
        swapped = {} if swap is None else {"SwapUniqueid": uid(swap)}
        return self.emit("BridgeEnter", **facts, **self.shown(channel), **swapped)

    def leave(self, channel: int, bridge: str, **more: Any) -> "Scene":
        return self.emit("BridgeLeave", **(bridge_of(bridge) | more), **self.shown(channel))

    def local(self, one: int, two: int, name: str, *, linked: int, optimize: str = "Yes") -> "Scene":
        """Create the halves of a Local channel, and pair them."""
        exten = name.partition("/")[2].partition("@")[0]
        self.new(one, f"{name};1", exten=exten, linked=linked, state=DOWN)
        self.new(two, f"{name};2", exten=exten, linked=linked)
        halves = self.shown(one, "LocalOne") | self.shown(two, "LocalTwo")
        return self.emit("LocalBridge", **halves, Context="internal", Exten=exten, LocalOptimization=optimize)

    def request(self, channel: int) -> "Scene":
        return self.emit("HangupRequest", **self.shown(channel), Cause=16)

    def hangup(self, *channels: int, cause: int = 16) -> "Scene":
        for channel in channels:
            self.emit("Hangup", **self.shown(channel), **{"Cause": cause, "Cause-txt": "Normal Clearing"})
        return self

    def ring(self, by: int, to: int, name: str, number: str, *, linked: int, string: str = "") -> "Scene":
        """Create a phone's channel, dial it, and let it ring."""
        self.new(to, name, number, linked=linked, state=DOWN)
        return self.dial(by, to, string or number).state(to, RINGING)

    def answer(self, by: int, to: int, bridge: str) -> "Scene":
        """Answer a ring, and bridge both."""
        self.state(to, UP).dial_end(by, to, "ANSWER")
        if self.channels[by]["ChannelState"] != UP:
            self.state(by, UP)
        return self.enter(to, bridge).enter(by, bridge)

    def talk(self, seconds: float = 5.0) -> "Scene":
        """Tell that 100 (channel 1) calls 101 (channel 2), who answers after 2 seconds and talks in bridge ``b``."""
        self.new(1, "PJSIP/100-00000001", "100", exten="101", of="Alice Abel")
        self.run(1, "Dial", "PJSIP/101").ring(1, 2, "PJSIP/101-00000002", "101", linked=1)
        return self.wait(2).answer(1, 2, "b").wait(seconds)

    def part(self, *channels: int, bridge: str = "b", linked: int | None = None) -> "Scene":
        """Let the first channel hang up, and the others with it."""
        if linked is not None:
            self.link(linked, *channels)
        self.request(channels[0])
        for channel in channels:
            self.leave(channel, bridge)
        return self.hangup(*channels)

    def snapshot(self, *channels: int, epoch: int = 7, duration: str = "00:00:30") -> "Scene":
        """Append a whole list of channels."""
        listing = ListSnapshot("CoreShowChannels", epoch, self.now)
        items = [listing.item("CoreShowChannel", **self.shown(channel), Duration=duration) for channel in channels]
        self.events += [listing.start, *items, listing.end, listing.over]
        return self

    def own(self, event: Any) -> "Scene":
        self.events.append(own(event, self.now))
        return self

    def calls(self) -> dict[str, Call]:
        """Fold the scene at once, and again with a restart after each event: both must tell the same."""
        whole, cut = CallTable().take(self.events), CallTable()
        for event in self.events:
            cut.take(event).restart()
        assert whole.rows == cut.rows
        assert isinstance(whole.machine, CallMachine)
        return whole.calls()

    def call(self) -> Call:
        """Return the only call."""
        (call,) = self.calls().values()
        return call


def uid(channel: int) -> str:
    """Return the unique id of a channel."""
    return f"1795309000.{channel}"


def bridge_of(bridge: str) -> dict[str, Any]:
    return {
        "BridgeUniqueid": bridge,
        "BridgeType": "basic",
        "BridgeTechnology": "simple_bridge",
        "BridgeCreator": "<unknown>",
        "BridgeName": "<unknown>",
    }


HOLDING: dict[str, Any] = {"BridgeType": "parking", "BridgeTechnology": "holding_bridge", "BridgeCreator": "Parking"}
CONFERENCE: dict[str, Any] = {
    "BridgeType": "base",
    "BridgeTechnology": "softmix",
    "BridgeCreator": "ConfBridge",
    "BridgeName": "8000",
}
