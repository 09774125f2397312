"""A PBX whose clock differs from ours: the blocks of ``tests/cases/06-pbx-clock-off``, as a listener would log them."""

import re
from collections.abc import Iterator
from pathlib import Path

from schemas.log import NewEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from tests.support.folding import own

CASE = Path(__file__).parent.parent / "cases" / "06-pbx-clock-off"
PARKED = """Event: ParkedCall
Timestamp: @NOW-600
ParkeeChannel: PJSIP/trunk-00000001
ParkeeUniqueid: @UID.1
ParkeeLinkedid: @UID.1
Parkinglot: default
ParkingSpace: 701
ParkingTimeout: @LEFT
ParkingDuration: @SECONDS
"""


class Clock:
    """One PBX, ``off`` seconds ahead of us; ``uid`` is the second in its unique ids, by its own clock."""

    def __init__(self, off: float, began: float) -> None:
        self.off = off
        self.uid = str(int(began + off))

    def joined(self, at: float) -> list[NewEvent]:
        """Return the channel and its coming into the queue, logged at ``at``."""
        return list(self._events(CASE.joinpath("input.ami").read_text(), at))

    def parked(self, at: float) -> list[NewEvent]:
        """Return the event of a call that is parked for 45 seconds."""
        return list(self._events(PARKED.replace("@LEFT", "45").replace("@SECONDS", "0"), at))

    def listed(self, at: float, seconds: int, epoch: int = 1) -> list[NewEvent]:
        """Return the lists: a call that has lasted, waited and been parked for ``seconds``."""
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        text = CASE.joinpath("lists.ami").read_text()
        text = text.replace("Wait: 59", f"Wait: {seconds}").replace("Duration: 00:00:59", f"Duration: {clock}")
        parked = PARKED.replace("Timestamp: @NOW-600\n", "")
        text += "### ParkedCalls\n" + parked.replace("@LEFT", str(45 - seconds)).replace("@SECONDS", str(seconds))
        events = [own(SnapshotStarted(epoch), at)]
        for part in text.split("### ")[1:]:
            action, _, blocks = part.partition("\n")
            events += self._events(blocks, at, f"ActionID: ringledger/{epoch}/{action}\n")
            events.append(own(SnapshotListed(epoch, action, "complete"), at))
        return [*events, own(SnapshotCompleted(epoch), at)]

    def _events(self, text: str, at: float, more: str = "") -> Iterator[NewEvent]:
        filled = text.replace("@NOW-600", f"{at + self.off:.6f}").replace("@UID", self.uid)
        for block in re.findall(r"Event: .*?(?:\n\n|\Z)", filled, re.DOTALL):
            lines = (block.strip("\n") + "\n" + more).splitlines()
            raw = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
            occurred = at + self.off if "\nTimestamp: " in block else None
            yield NewEvent("ami", lines[0].removeprefix("Event: "), occurred, at, raw)
