"""The lists of the recorded PBX at any moment.

The recording has eight answers in five minutes to each list action whose list changes. A listener requests lists at any
time, and a list of 40 seconds ago would bring ended channels back and end present ones. So the live events update the
first recorded list, as Asterisk does. A test compares the result with all later recorded lists.
"""

from collections.abc import Callable, Iterator

from services.playback.blocks import Headers, list_items, parse_block
from services.playback.recording import Answer, Live, Recording, request

CHANNEL = (
    *("Channel", "ChannelState", "ChannelStateDesc", "CallerIDNum", "CallerIDName", "ConnectedLineNum"),
    *("ConnectedLineName", "Language", "AccountCode", "Context", "Exten", "Priority", "Uniqueid", "Linkedid"),
)
MEMBER_EVENTS = frozenset(
    "QueueMember" + what for what in ("Status", "Pause", "Penalty", "Ringinuse", "Added", "Removed")
)
AVERAGES = ("Holdtime", "TalkTime", "ServicelevelPerf", "ServicelevelPerf2")
PARKED_ENDS = frozenset({"UnParkedCall", "ParkedCallGiveUp", "ParkedCallTimeOut"})
IRRELEVANT = frozenset({"TestEvent", "VarSet", "CEL", "RTCPSent", "RTCPReceived", "SuccessfulAuth", "ChallengeSent"})
"""Two thirds of the events, which change no list."""


class PlaybackState:
    """The lists after the applied live events; all times are the recording's."""

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
        for item in list_items(recording.answers[request({"Action": "Agents"})][0]):
            self.agents[item["Agent"]] = item
        lists = recording.answers[request({"Action": "DeviceStateList"})]
        for item in list_items(lists[0]):
            self.devices[item["Device"]] = item["State"]
        # Events report more devices than the list has, because Asterisk does not store the state of each.
        self.listed_devices = frozenset(item["Device"] for answer in lists for item in list_items(answer))
        for item in list_items(recording.answers[request({"Action": "QueueStatus"})][0]):
            if item["Event"] == "QueueParams":
                self.queues[item["Queue"]] = item
            elif item["Event"] == "QueueMember":
                self.members[item["Queue"], item["Location"]] = item

    def apply(self, event: Live) -> None:
        """Apply one live event."""
        if event.name in IRRELEVANT:
            return
        headers = parse_block(event.block)
        unique_id = headers.get("Uniqueid", "")
        if event.name == "Newchannel":
            self.channels[unique_id] = {"Application": "", "ApplicationData": "", "BridgeId": ""}
            self.created[unique_id] = event.at
        if unique_id in self.channels:
            self._channel(event, unique_id, headers)
        if event.name == "DeviceStateChange":
            if headers["Device"] in self.listed_devices:
                self.devices[headers["Device"]] = headers["State"]
        elif event.name == "ContactStatus":
            self.contacts[headers["URI"]] = headers
            if headers["ContactStatus"] == "Removed":
                del self.contacts[headers["URI"]]
        elif event.name in MEMBER_EVENTS:
            self._member(event, headers)
        elif event.name in {"QueueCallerJoin", "QueueCallerLeave", "QueueCallerAbandon", "AgentComplete"}:
            self._queue(event, headers)
        elif event.name == "ParkedCall":
            call = {n: v for n, v in headers.items() if n not in {"Privilege", "Timestamp"}}
            self.parked[headers["ParkeeUniqueid"]] = call
            self.parked_at[headers["ParkeeUniqueid"]] = event.at
        elif event.name in PARKED_ENDS:
            self.parked.pop(headers["ParkeeUniqueid"], None)
        elif event.name == "AgentLogin":
            self.agent_channels[headers["Agent"]] = unique_id
        elif event.name == "AgentLogoff":
            self.agent_channels.pop(headers["Agent"], None)

    def _channel(self, event: Live, unique_id: str, headers: Headers) -> None:
        channel = self.channels[unique_id]
        if event.name == "Hangup":
            del self.channels[unique_id], self.created[unique_id]
            return
        if "ChannelState" in headers:
            channel |= {name: headers[name] for name in CHANNEL}
        if event.name == "Newexten":
            channel |= {"Application": headers["Application"], "ApplicationData": headers["AppData"]}
        elif event.name == "BridgeEnter":
            channel["BridgeId"] = headers["BridgeUniqueid"]
        elif event.name == "BridgeLeave" and channel["BridgeId"] == headers["BridgeUniqueid"]:
            channel["BridgeId"] = ""
        elif event.name == "Rename":
            channel["Channel"] = headers["Newname"]

    def _member(self, event: Live, headers: Headers) -> None:
        key = (headers["Queue"], headers["Interface"])
        if event.name == "QueueMemberRemoved":
            self.members.pop(key, None)
            return
        item = {"Event": "QueueMember"}
        for name, value in headers.items():
            if name not in {"Event", "Privilege", "Timestamp", "Ringinuse"}:
                item[{"MemberName": "Name", "Interface": "Location"}.get(name, name)] = value
        self.members[key] = item

    def _queue(self, event: Live, headers: Headers) -> None:
        params = self.queues.get(headers["Queue"])
        key = (headers["Queue"], headers["Uniqueid"])
        if event.name == "QueueCallerJoin":
            names = ("Queue", "Position", "Channel", "Uniqueid", *CHANNEL[3:7])
            values = {name: headers[name].replace("<unknown>", "unknown") for name in names}
            self.entries[key] = {"Event": "QueueEntry", **values}
            self.joined[key] = event.at
        elif event.name == "QueueCallerLeave":
            self.entries.pop(key, None)
            waiting = [entry for other, entry in self.entries.items() if other[0] == headers["Queue"]]
            for position, entry in enumerate(sorted(waiting, key=lambda e: int(e["Position"])), 1):
                entry["Position"] = str(position)
        elif params is not None:
            counter = "Abandoned" if event.name == "QueueCallerAbandon" else "Completed"
            params[counter] = str(int(params[counter]) + 1)

    def items(self, action: str, at: int, latest: Answer, speed: float = 1.0) -> list[Headers] | None:
        """Return the list's items at a time of the recording, None for a list that events do not update.

        ``latest`` is the last recorded answer to the same action, from which a queue's averages are taken. ``speed`` is
        how much faster than recorded the time passes; growing durations follow the real time.
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
        is_busy = self.devices.get(f"Agent:{number}") == "INUSE"
        since = self.created[channel] // 1_000_000
        item |= {"Status": "AGENT_ONCALL" if is_busy else "AGENT_IDLE", "LoggedInTime": str(since)}
        return item | {name: self.channels[channel].get(name, "") for name in CHANNEL}

    @staticmethod
    def _parked_item(call: Headers, seconds: int) -> Headers:
        left = max(0, int(call["ParkingTimeout"]) - seconds)
        return call | {"ParkingTimeout": str(left), "ParkingDuration": str(seconds)}

    def _queue_items(self, latest: Answer, seconds: Callable[[int], int]) -> Iterator[Headers]:
        averages = {item["Queue"]: item for item in list_items(latest) if item["Event"] == "QueueParams"}
        for name, params in self.queues.items():
            waiting = [(key, entry) for key, entry in self.entries.items() if key[0] == name]
            average = {header: averages.get(name, params)[header] for header in AVERAGES}
            yield params | average | {"Calls": str(len(waiting))}
            yield from (member for (queue, _), member in self.members.items() if queue == name)
            for key, entry in sorted(waiting, key=lambda one: int(one[1]["Position"])):
                yield entry | {"Wait": str(seconds(self.joined[key])), "Priority": "0"}  # no event has the priority
