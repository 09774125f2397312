"""The zone of local times in Asterisk's csv files."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from services.transfer.asterisk_files import Line

OFFSET = re.compile(r"([+-])(\d\d):([0-5]\d)")
SKEW = 5
"""So much earlier than its channel a call may seem to begin: the clock was set meanwhile, and seconds are cut off."""
LATE = 900
"""Zones differ by a quarter of an hour at least."""
ENOUGH = 10
"""Of so many calls in a month one begins with its channel, as most do."""


class ZoneError(Exception):
    """The zone cannot be the one in which the lines were written; the message is one line."""


def zone_of(name: str) -> tzinfo:
    """Return the zone of a name (``Europe/Berlin``, ``UTC``) or an offset (``+01:00``). Raises ZoneError."""
    if found := OFFSET.fullmatch(name):
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        if offset < timedelta(days=1):
            return timezone(offset if found[1] == "+" else -offset)
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ZoneError(f"{name!r} is no time zone (Europe/Berlin, UTC, +01:00)") from None


def offset_name(seconds: int) -> str:
    """Write an offset from UTC as `zone_of` reads it."""
    minutes = abs(seconds) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def at(line: Line, zone: tzinfo | None) -> float:
    """Return when a line ended, in seconds since the epoch."""
    if line.at is not None:
        return line.at
    naive = datetime.fromtimestamp(line.ended, UTC).replace(tzinfo=zone)
    # In the hour that comes twice, the call began with its channel.
    first, second = (naive.replace(fold=fold).timestamp() for fold in (0, 1))
    if line.made and abs(second - line.lasted - line.made) < abs(first - line.lasted - line.made):
        return second
    return first


def check(lines: Iterable[Line], zone: tzinfo, name: str) -> None:
    """Hold local times against unique ids, which tell when channels were made. Raises ZoneError if they disagree."""
    least: dict[str, float] = {}
    count: dict[str, int] = {}
    for line in lines:
        if line.at is not None or not line.made:
            continue
        after = at(line, zone) - line.lasted - line.made
        month = f"{datetime.fromtimestamp(line.ended, UTC):%Y-%m}"
        least[month] = min(after, least.get(month, after))
        count[month] = count.get(month, 0) + 1
    for month in sorted(least):
        if least[month] < -SKEW or (least[month] >= LATE and count[month] >= ENOUGH):
            amount = timedelta(seconds=abs(int(least[month])))
            side = "before" if least[month] < 0 else "after"
            raise ZoneError(
                f"in {name} calls of {month} would begin {amount} {side} their channels were made; give the --timezone"
                " in which the file was written"
            )
