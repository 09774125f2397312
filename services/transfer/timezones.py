"""The time zone of local times in Asterisk's CSV files."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from services.transfer.asterisk_files import CsvRecord

OFFSET = re.compile(r"([+-])(\d\d):([0-5]\d)")
SKEW_SECONDS = 5
"""A call may seem to start this much before its channel: the clock was set meanwhile, and seconds are truncated."""
LATE_SECONDS = 900
"""Zones differ by at least a quarter of an hour."""
MIN_CALLS = 10
"""Among this many calls in a month, one starts together with its channel, as most do."""


class TimezoneError(Exception):
    """The records cannot have been written in this time zone; the message is one line."""


def parse_zone(name: str) -> tzinfo:
    """Return the zone of a name (``Europe/Berlin``, ``UTC``) or an offset (``+01:00``). Raises TimezoneError."""
    if match := OFFSET.fullmatch(name):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if offset < timedelta(days=1):
            return timezone(offset if match[1] == "+" else -offset)
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise TimezoneError(f"{name!r} is not a time zone (Europe/Berlin, UTC, +01:00)") from None


def offset_name(seconds: int) -> str:
    """Return an offset from UTC as `parse_zone` accepts it."""
    minutes = abs(seconds) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def end_time(record: CsvRecord, zone: tzinfo | None) -> float:
    """Return the end of a record in seconds since the epoch."""
    if record.at is not None:
        return record.at
    naive = datetime.fromtimestamp(record.local_end, UTC).replace(tzinfo=zone)
    # In a repeated hour, the call started together with its channel.
    first, second = (naive.replace(fold=fold).timestamp() for fold in (0, 1))
    created = record.channel_created
    if created and abs(second - record.duration - created) < abs(first - record.duration - created):
        return second
    return first


def check_zone(records: Iterable[CsvRecord], zone: tzinfo, name: str) -> None:
    """Compare local times with the times in unique ids. Raises TimezoneError if they contradict the zone."""
    least: dict[str, float] = {}
    count: dict[str, int] = {}
    for record in records:
        if record.at is not None or not record.channel_created:
            continue
        delay = end_time(record, zone) - record.duration - record.channel_created
        month = f"{datetime.fromtimestamp(record.local_end, UTC):%Y-%m}"
        least[month] = min(delay, least.get(month, delay))
        count[month] = count.get(month, 0) + 1
    for month in sorted(least):
        if least[month] < -SKEW_SECONDS or (least[month] >= LATE_SECONDS and count[month] >= MIN_CALLS):
            amount = timedelta(seconds=abs(int(least[month])))
            side = "before" if least[month] < 0 else "after"
            raise TimezoneError(
                f"in {name} calls of {month} would start {amount} {side} their channels; pass the --timezone in which"
                " the file was written"
            )
