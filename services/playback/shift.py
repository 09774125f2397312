"""Moves the times of a recording: each time in a block becomes a time of now."""

import re
from datetime import UTC, datetime

DAY_MICROSECONDS = 86_400_000_000

# The alternatives are, in this order:
# - the date and time of CoreStatus, in two headers;
# - local time (UTC in the recording) in Cdr, CEL and security events;
# - seconds since the epoch: with microseconds (Timestamp, SentNTP), with a channel's number (Uniqueid, also in
#   variables and names of files), or bare (LoginTime, LastCall).
TIMES = re.compile(
    rb"(?P<pair>(?P<prefix>Date: )(?P<day>\d{4}-\d\d-\d\d)(?P<between>\r\n\w+Time: )(?P<time>\d\d:\d\d:\d\d))"
    rb"|(?P<local>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?P<milli>\.\d{3})?"
    rb"|(?<![\w.])(?P<epoch>\d{10})(?:\.(?P<micro>\d{6})|(?P<number>\.\d{1,5}))?(?!\w)",
)


class Shift:
    """A mapping of the moment ``recorded`` to ``now`` (both microseconds since the epoch).

    Ids move like times, so they differ from those of every shift whose ``now`` is at least a second away. At a
    ``speed`` other than 1, durations in headers (Duration, HoldTime) stay as recorded.
    """

    def __init__(self, recorded: int, now: int, speed: float = 1.0) -> None:
        self.recorded = recorded
        self.now = now
        self.speed = speed

    def time(self, recorded: int) -> int:
        """Return the present time of a recorded time (microseconds since the epoch)."""
        elapsed = recorded - self.recorded
        return self.now + (elapsed if self.speed == 1.0 else round(elapsed / self.speed))

    def block(self, block: bytes) -> bytes:
        """Return the block with its times moved."""
        return TIMES.sub(self._move, block)

    def _move(self, match: re.Match[bytes]) -> bytes:
        if match["epoch"]:
            return self._epoch(match)
        local = match["local"] or match["day"] + b" " + match["time"]
        try:
            when = datetime.fromisoformat(local.decode()).replace(tzinfo=UTC)
        except ValueError:
            return match[0]
        recorded = round(when.timestamp()) * 1_000_000 + int((match["milli"] or b".000")[1:]) * 1000
        if not self._near(recorded):
            return match[0]
        now = self.time(recorded)
        day, time = datetime.fromtimestamp(now // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S").encode().split()
        if match["pair"]:
            return match["prefix"] + day + match["between"] + time
        milli = b".%03d" % (now // 1000 % 1000) if match["milli"] else b""
        return day + local[10:11] + time + milli

    def _epoch(self, match: re.Match[bytes]) -> bytes:
        recorded = int(match["epoch"]) * 1_000_000 + int(match["micro"] or 0)
        if not self._near(recorded):
            return match[0]
        now = self.time(recorded)
        if match["micro"]:
            return b"%d.%06d" % divmod(now, 1_000_000)
        return b"%d%b" % (now // 1_000_000, match["number"] or b"")

    def _near(self, recorded: int) -> bool:
        return abs(recorded - self.recorded) < DAY_MICROSECONDS
