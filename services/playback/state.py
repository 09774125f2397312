"""What the recorded PBX's lists would say between the moments when they were asked for.

The recording asks for the lists that move eight times in five minutes. A listener asks when it likes, and a list that
is 40 seconds old would bring ended channels back and end living ones. So the first list that was recorded is kept up
to date by the live events, as Asterisk itself would; a test holds the result against all later recorded lists.
"""

from collections.abc import Callable, Iterator

from projections.engine.headers import pairs
from services.playback.recording import Answer, Live, Recording, request

Headers = dict[str, str]

CHANNEL = (
    *("Channel", "ChannelState", "ChannelStateDesc", "CallerIDNum", "CallerIDName", "ConnectedLineNum"),
    *("ConnectedLineName", "Language", "AccountCode", "Context", "Exten", "Priority", "Uniqueid", "Linkedid"),
)
MEMBER_EVENTS = frozenset(
    "QueueMember" + what for what in ("Status", "Pause", "Penalty", "Ringinuse", "Added", "Removed")
)
AVERAGES = ("Holdtime", "TalkTime", "ServicelevelPerf", "ServicelevelPerf2")
PARKED_ENDS = frozenset({"UnParkedCall", "ParkedCallGiveUp", "ParkedCallTimeOut"})
SNAPSHOT_FREE = frozenset({"TestEvent", "VarSet", "CEL", "RTCPSent", "RTCPReceived", "SuccessfulAuth", "ChallengeSent"})
"""Two thirds of the events, which move no list."""


def headers(block: bytes) -> Headers:
    """Return a block's headers; of repeated ones, the last."""
    return {name: value or "" for name, value in pairs(block.decode("utf-8", "surrogateescape"))}


def block(said: Headers) -> bytes:
    """Make a block of headers."""
    return "".join(f"{name}: {value}\r\n" for name, value in said.items()).encode("utf-8", "surrogateescape") + b"\r\n"


def items(answer: Answer) -> list[Headers]:
    """Return the items of a recorded list, without its ActionID."""
    return [{n: v for n, v in headers(item).items() if n != "ActionID"} for item in answer.blocks[1:-1]]


class State:
    """The lists as they stand after the live events that `apply` was given; all times are the recording's."""

    def __init__(self, recording: Recording) -> None:
        self.channels: dict[str, Headers] = {}
        self.created: dict[str, int] = {}
        self.contacts: dict[str, Headers] = {}
        self.parked: dict[str, Headers] = {}
        self.parked_at: dict[str, int] = {}
        self.agents: dict[str, Headers] = {}
        self.agent_channels: dict[str, str] = {}
        self.devices: dict[str, str] = {}
        self.queues: dict[str, Headers] = {}
        self.members: dict[tuple[str, str], Headers] = {}
        self.entries: dict[tuple[str, str], Headers] = {}
        self.joined: dict[tuple[str, str], int] = {}
        for item in items(recording.answers[request({"Action": "Agents"})][0]):
            self.agents[item["Agent"]] = item
        lists = recording.answers[request({"Action": "DeviceStateList"})]
        for item in items(lists[0]):
            self.devices[item["Device"]] = item["State"]
        # Events tell of more devices than the list does: Asterisk does not keep the state of every one.
        self.kept = frozenset(item["Device"] for answer in lists for item in items(answer))
        for item in items(recording.answers[request({"Action": "QueueStatus"})][0]):
            if item["Event"] == "QueueParams":
                self.queues[item["Queue"]] = item
            elif item["Event"] == "QueueMember":
                self.members[item["Queue"], item["Location"]] = item

    def apply(self, event: Live) -> None:
        """Take one live event."""
        if event.name in SNAPSHOT_FREE:
            return
        said = headers(event.block)
        unique_id = said.get("Uniqueid", "")
        if event.name == "Newchannel":
            self.channels[unique_id] = {"Application": "", "ApplicationData": "", "BridgeId": ""}
            self.created[unique_id] = event.at
        if unique_id in self.channels:
            self._channel(event, unique_id, said)
        if event.name == "DeviceStateChange":
            if said["Device"] in self.kept:
                self.devices[said["Device"]] = said["State"]
        elif event.name == "ContactStatus":
            self.contacts[said["URI"]] = said
            if said["ContactStatus"] == "Removed":
                del self.contacts[said["URI"]]
        elif event.name in MEMBER_EVENTS:
            self._member(event, said)
        elif event.name in {"QueueCallerJoin", "QueueCallerLeave", "QueueCallerAbandon", "AgentComplete"}:
            self._queue(event, said)
        elif event.name == "ParkedCall":
            self.parked[said["ParkeeUniqueid"]] = {n: v for n, v in said.items() if n not in {"Privilege", "Timestamp"}}
            self.parked_at[said["ParkeeUniqueid"]] = event.at
        elif event.name in PARKED_ENDS:
            self.parked.pop(said["ParkeeUniqueid"], None)
        elif event.name == "AgentLogin":
            self.agent_channels[said["Agent"]] = unique_id
        elif event.name == "AgentLogoff":
            self.agent_channels.pop(said["Agent"], None)

    def _channel(self, event: Live, unique_id: str, said: Headers) -> None:
        channel = self.channels[unique_id]
        if event.name == "Hangup":
            del self.channels[unique_id], self.created[unique_id]
            return
        if "ChannelState" in said:
            channel |= {name: said[name] for name in CHANNEL}
        if event.name == "Newexten":
            channel |= {"Application": said["Application"], "ApplicationData": said["AppData"]}
        elif event.name == "BridgeEnter":
            channel["BridgeId"] = said["BridgeUniqueid"]
        elif event.name == "BridgeLeave" and channel["BridgeId"] == said["BridgeUniqueid"]:
            channel["BridgeId"] = ""
        elif event.name == "Rename":
            channel["Channel"] = said["Newname"]

    def _member(self, event: Live, said: Headers) -> None:
        key = (said["Queue"], said["Interface"])
        if event.name == "QueueMemberRemoved":
            self.members.pop(key, None)
            return
        item = {"Event": "QueueMember"}
        for name, value in said.items():
            if name not in {"Event", "Privilege", "Timestamp", "Ringinuse"}:
                item[{"MemberName": "Name", "Interface": "Location"}.get(name, name)] = value
        self.members[key] = item

    def _queue(self, event: Live, said: Headers) -> None:
        params = self.queues.get(said["Queue"])
        key = (said["Queue"], said["Uniqueid"])
        if event.name == "QueueCallerJoin":
            wanted = ("Queue", "Position", "Channel", "Uniqueid", *CHANNEL[3:7])
            values = {name: said[name].replace("<unknown>", "unknown") for name in wanted}
            self.entries[key] = {"Event": "QueueEntry", **values}
            self.joined[key] = event.at
        elif event.name == "QueueCallerLeave":
            self.entries.pop(key, None)
            waiting = [entry for other, entry in self.entries.items() if other[0] == said["Queue"]]
            for position, entry in enumerate(sorted(waiting, key=lambda e: int(e["Position"])), 1):
                entry["Position"] = str(position)
        elif params is not None:
            counter = "Abandoned" if event.name == "QueueCallerAbandon" else "Completed"
            params[counter] = str(int(params[counter]) + 1)

    def listed(self, action: str, at: int, latest: Answer, speed: float = 1.0) -> list[Headers] | None:
        """Return the list's items at that time of the recording, None for a list that is not kept.

        ``latest`` is the last recorded answer to the same action; a queue's averages are taken from it. ``speed`` is
        how much faster than recorded the time passes: durations that tick are those of a clock on the wall.
        """

        def seconds(since: int) -> int:
            return max(0, int((at - since) / speed)) // 1_000_000

        if action == "coreshowchannels":
            return [self._channel_item(i, c, seconds(self.created[i])) for i, c in self.channels.items()]
        if action == "agents":
            return [self._agent_item(item) for item in self.agents.values()]
        if action == "devicestatelist":
            return [{"Event": "DeviceStateChange", "Device": d, "State": s} for d, s in self.devices.items()]
        if action == "parkedcalls":
            return [self._parked_item(call, seconds(self.parked_at[i])) for i, call in self.parked.items()]
        if action == "queuestatus":
            return list(self._queue_items(latest, seconds))
        return None

    @staticmethod
    def _channel_item(unique_id: str, channel: Headers, seconds: int) -> Headers:
        item = {"Event": "CoreShowChannel", **{name: channel.get(name, "") for name in CHANNEL}, "Uniqueid": unique_id}
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        rest = {name: channel[name] for name in ("Application", "ApplicationData")}
        return item | rest | {"Duration": clock, "BridgeId": channel["BridgeId"]}

    def _agent_item(self, agent: Headers) -> Headers:
        number = agent["Agent"]
        item = {"Event": "Agents", "Agent": number, "Name": agent["Name"], "Status": "AGENT_LOGGEDOFF"}
        channel = self.agent_channels.get(number, "")
        if channel not in self.channels:
            return item
        busy = self.devices.get(f"Agent:{number}") == "INUSE"
        since = self.created[channel] // 1_000_000
        item |= {"Status": "AGENT_ONCALL" if busy else "AGENT_IDLE", "LoggedInTime": str(since)}
        return item | {name: self.channels[channel].get(name, "") for name in CHANNEL}

    @staticmethod
    def _parked_item(call: Headers, seconds: int) -> Headers:
        left = max(0, int(call["ParkingTimeout"]) - seconds)
        return call | {"ParkingTimeout": str(left), "ParkingDuration": str(seconds)}

    def _queue_items(self, latest: Answer, seconds: Callable[[int], int]) -> Iterator[Headers]:
        averages = {item["Queue"]: item for item in items(latest) if item["Event"] == "QueueParams"}
        for name, params in self.queues.items():
            waiting = [(key, entry) for key, entry in self.entries.items() if key[0] == name]
            known = {what: averages.get(name, params)[what] for what in AVERAGES}
            yield params | known | {"Calls": str(len(waiting))}
            yield from (member for (queue, _), member in self.members.items() if queue == name)
            for key, entry in sorted(waiting, key=lambda one: int(one[1]["Position"])):
                yield entry | {"Wait": str(seconds(self.joined[key])), "Priority": "0"}  # no event tells the priority
