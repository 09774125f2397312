"""A scene of CEL: lines of a file, or the AMI events of the same moments, by the few facts in which calls differ."""

import json
from typing import Any

from schemas.calls import Call
from schemas.cel_columns import DEFAULT, HEADERS
from schemas.log import NewEvent
from tests.support.calls import CallTable
from tests.support.folding import block
from tests.support.scene import BEGIN, uid


class CelScene:
    """Lines in order. ``now`` is the PBX's clock; a channel is named by its counter, as in ``1795309000.7``."""

    def __init__(self, columns: tuple[str, ...] = DEFAULT, *, is_file: bool = True) -> None:
        self.now = BEGIN
        self.columns = columns
        self.is_file = is_file
        self.events: list[NewEvent] = []
        self.channels: dict[int, dict[str, str]] = {}

    def wait(self, seconds: float) -> "CelScene":
        self.now += seconds
        return self

    def emit(self, event: str, channel: int, /, extra: dict[str, Any] | None = None, **values: str) -> "CelScene":
        """Append a line; 10 microseconds go by."""
        text = "" if extra is None else json.dumps(extra)
        values = (
            self.channels[channel] | {"eventtype": event, "eventtime": f"{self.now:.6f}", "eventextra": text} | values
        )
        if self.is_file:
            cells = ('"' + values.get(name, "").replace('"', '""') + '"' for name in self.columns)
            raw = (",".join(cells) + "\n").encode()
            self.events.append(NewEvent("cel_csv", "CEL", round(self.now, 6), round(self.now, 6), raw))
        else:
            headers = {HEADERS[name]: value for name, value in values.items() if value}
            self.events.append(block("CEL", self.now, **headers))
        self.now += 0.00001
        return self

    def start(
        self, channel: int, name: str, number: str = "", *, exten: str = "s", linked: int | None = None
    ) -> "CelScene":
        """CHAN_START; ``linked`` is the counter of the linked id, its own by default."""
        linkedid = uid(channel if linked is None else linked)
        shown = {"cidnum": number, "exten": exten, "context": "internal", "channame": name}
        self.channels[channel] = shown | {"uniqueid": uid(channel), "linkedid": linkedid}
        return self.emit("CHAN_START", channel)

    def link(self, linked: int, *channels: int) -> "CelScene":
        """Show another linked id of these channels from the next line on."""
        for channel in channels:
            self.channels[channel]["linkedid"] = uid(linked)
        return self

    def run(self, channel: int, application: str, data: str = "") -> "CelScene":
        """Show an application of the channel from the next line on."""
        self.channels[channel] |= {"appname": application, "appdata": data}
        return self

    def enter(self, channel: int, bridge: str, **values: str) -> "CelScene":
        extra = {"bridge_id": bridge, "bridge_technology": "simple_bridge"} if bridge else None
        return self.emit("BRIDGE_ENTER", channel, extra, **values)

    def leave(self, channel: int, bridge: str = "", **values: str) -> "CelScene":
        extra = {"bridge_id": bridge, "bridge_technology": "simple_bridge"} if bridge else None
        return self.emit("BRIDGE_EXIT", channel, extra, **values)

    def end(self, *channels: int, by: int = 0, cause: int = 16, status: str = "") -> "CelScene":
        """HANGUP and CHAN_END; ``by`` is the channel that requested the hangup, 0 for the PBX."""
        source = self.channels[by]["channame"] if by else ""
        for channel in channels:
            self.emit("HANGUP", channel, {"hangupcause": cause, "hangupsource": source, "dialstatus": status})
            self.emit("CHAN_END", channel)
        return self

    def ring(self) -> "CelScene":
        """100 (channel 1) calls 101 (channel 2)."""
        self.start(1, "PJSIP/100-00000001", "100", exten="101")
        self.start(2, "PJSIP/101-00000002", "101", linked=1)
        return self.run(1, "Dial", "PJSIP/101").run(2, "AppDial", "(Outgoing Line)")

    def talk(self, seconds: float = 5.0) -> "CelScene":
        """Let 101 answer 100 after two seconds, and both talk."""
        self.ring().wait(2).emit("ANSWER", 2).emit("ANSWER", 1)
        return self.enter(2, "b").enter(1, "b").wait(seconds)

    def calls(self) -> dict[str, Call]:
        """Fold the scene at once, and again with a restart after each event: both must give the same."""
        whole, cut = CallTable().take(self.events), CallTable()
        for event in self.events:
            cut.take(event).restart()
        assert whole.rows == cut.rows
        return whole.calls()

    def call(self) -> Call:
        """Return the only call."""
        (call,) = self.calls().values()
        return call
