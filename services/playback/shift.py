"""Moves the times of a recording: whatever in a block is a time of the recording becomes one of now."""

import re
from datetime import UTC, datetime

DAY = 86_400_000_000

# In this order: CoreStatus' date and time in two headers; local time (UTC in the recording) in Cdr, CEL and security
# events; seconds since the epoch, with microseconds (Timestamp, SentNTP), with a channel's number (Uniqueid, wherever
# it stands: in variables, in names of files), or bare (LoginTime, LastCall).
TIMES = re.compile(
    rb"(?P<pair>(?P<prefix>Date: )(?P<day>\d{4}-\d\d-\d\d)(?P<between>\r\n\w+Time: )(?P<time>\d\d:\d\d:\d\d))"
    rb"|(?P<local>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?P<milli>\.\d{3})?"
    rb"|(?<![\w.])(?P<epoch>\d{10})(?:\.(?P<micro>\d{6})|(?P<number>\.\d{1,5}))?(?!\w)",
)


class Shift:
    """Moves what was recorded at ``recorded`` to ``now`` (both microseconds since the epoch) and on from there.

    Ids move as times do, so they differ from those of every other shift whose ``now`` is a second away. At another
    ``speed`` than 1, durations that Asterisk stated (Duration, HoldTime) stay as recorded.
    """

    def __init__(self, recorded: int, now: int, speed: float = 1.0) -> None:
        self.recorded = recorded
        self.now = now
        self.speed = speed

    def time(self, recorded: int) -> int:
        """Return when something recorded at that time happens now (microseconds since the epoch)."""
        past = recorded - self.recorded
        return self.now + (past if self.speed == 1.0 else round(past / self.speed))

    def block(self, block: bytes) -> bytes:
        """Return the block with its times moved."""
        return TIMES.sub(self._moved, block)

    def _moved(self, found: re.Match[bytes]) -> bytes:
        if found["epoch"]:
            return self._epoch(found)
        local = found["local"] or found["day"] + b" " + found["time"]
        try:
            when = datetime.fromisoformat(local.decode()).replace(tzinfo=UTC)
        except ValueError:
            return found[0]
        recorded = round(when.timestamp()) * 1_000_000 + int((found["milli"] or b".000")[1:]) * 1000
        if not self._near(recorded):
            return found[0]
        now = self.time(recorded)
        day, time = datetime.fromtimestamp(now // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S").encode().split()
        if found["pair"]:
            return found["prefix"] + day + found["between"] + time
        milli = b".%03d" % (now // 1000 % 1000) if found["milli"] else b""
        return day + local[10:11] + time + milli

    def _epoch(self, found: re.Match[bytes]) -> bytes:
        recorded = int(found["epoch"]) * 1_000_000 + int(found["micro"] or 0)
        if not self._near(recorded):
            return found[0]
        now = self.time(recorded)
        if found["micro"]:
            return b"%d.%06d" % divmod(now, 1_000_000)
        return b"%d%b" % (now // 1_000_000, found["number"] or b"")

    def _near(self, recorded: int) -> bool:
        return abs(recorded - self.recorded) < DAY
