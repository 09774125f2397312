"""Channels in async AGI at a fake PBX: they execute commands and send the events of Asterisk 22."""

from urllib.parse import quote

from tests.support.fake_ami import FakeAmi, block

BREAK = "ASYNCAGI BREAK"


class FakeChannels:
    """The channels of one PBX.

    ``results`` maps a command to AGI's result, 200 result=0 for others. A command in ``unfinished`` does not end.
    ``refused`` maps a command to the error of AMI that replaces its execution. ``commands`` are the commands received,
    as (unique id, command).
    """

    def __init__(self, ami: FakeAmi) -> None:
        self._ami = ami
        self.results: dict[str, str] = {}
        self.unfinished: set[str] = set()
        self.refused: dict[str, str] = {}
        self.commands: list[tuple[str, str]] = []
        self.ids: dict[str, str] = {}
        ami.replies["AGI"] = self._take

    def say(self, name: str, unique_id: str, *more: str) -> None:
        self._ami.send(
            block(
                f"Event: {name}", "Privilege: agi,all", f"Channel: PJSIP/{unique_id}", f"Uniqueid: {unique_id}", *more
            )
        )

    def enter(self, unique_id: str, *arguments: str, caller: str = "Alice") -> None:
        """Have a channel come into AGI(agi:async,...)."""
        self.say("AsyncAGIStart", unique_id, f"Env: {environment(unique_id, arguments, caller)}")

    def finish(self, unique_id: str, command: str, result: str = "200 result=0") -> None:
        """Say what came of a command."""
        encoded = quote(result + "\n", safe="")
        self.say("AsyncAGIExec", unique_id, f"CommandId: {self.ids[command]}", f"Result: {encoded}")

    def hang_up(self, unique_id: str, command: str = "") -> None:
        """Have the caller go, while this command is under way."""
        self.say("HangupRequest", unique_id)
        if command:
            self.finish(unique_id, command, "200 result=-1")
        self.say("AsyncAGIEnd", unique_id)
        self.say("Hangup", unique_id, "Cause: 16")

    def transfer(self, unique_id: str, replacement: str) -> None:
        """Put another channel into AGI in this one's place, by an attended transfer."""
        self._ami.send(
            block(
                *("Event: AttendedTransfer", "Privilege: call,all", "Result: Success", "DestType: App", "DestApp: AGI"),
                *("OrigTransfererUniqueid: 0.0", "OrigBridgeUniqueid: b", f"SecondTransfererUniqueid: {unique_id}"),
                *(f"TransfereeUniqueid: {replacement}", f"TransfereeChannel: PJSIP/{replacement}"),
            )
        )
        self.say("Hangup", unique_id, "Cause: 16")

    def _take(self, headers: dict[str, str]) -> bytes:
        unique_id, command, number = headers["Channel"], headers["Command"], f"ActionID: {headers['ActionID']}"
        if command in self.refused:
            return block("Response: Error", number, f"Message: {self.refused[command]}")
        self.commands.append((unique_id, command))
        self.ids[command] = headers["CommandID"]
        if command not in self.unfinished:
            # Asterisk may be quicker with the event than with the answer.
            self.finish(unique_id, command, self.results.get(command, "200 result=0"))
            if command == BREAK:
                self.say("AsyncAGIEnd", unique_id)
        return block("Response: Success", number, f"Message: Added AGI command to channel {unique_id} queue")


def environment(unique_id: str, arguments: tuple[str, ...] = (), caller: str = "Alice") -> str:
    lines = ["agi_request: async", f"agi_channel: PJSIP/{unique_id}", f"agi_calleridname: {caller}"]
    lines += [f"agi_arg_{number}: {argument}" for number, argument in enumerate(arguments, 1)]
    return quote("\n".join([*lines, "", ""]), safe="")
