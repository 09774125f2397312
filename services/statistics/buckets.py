"""Buckets of a period: the instants at which a clock of a time zone begins an hour, a day, a week or a month.

A day has 23 or 25 hours where the zone's clock is changed. An hour of the clock that occurs twice is two buckets.
"""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

Every = Literal["hour", "day", "week", "month"]
EVERY: tuple[Every, ...] = ("hour", "day", "week", "month")
MAX_BUCKETS = 100_000
DAY = timedelta(days=1)


class TooManyBucketsError(ValueError):
    """The period has more than `MAX_BUCKETS` buckets."""


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """Return the time zone of a name such as Europe/Berlin. Raises ValueError."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name[:100]!r} is no time zone") from None


def day_of(now: datetime, zone: zoneinfo.ZoneInfo) -> tuple[datetime, datetime]:
    """Return the beginning and the end of the zone's day."""
    today = now.astimezone(zone).date()
    return _midnight(today, zone), _midnight(today + DAY, zone)


def edges(since: datetime, until: datetime, every: Every, zone: zoneinfo.ZoneInfo) -> list[datetime]:
    """Return the starts of all buckets that the period touches, and then the end of the last one, in UTC.

    Raises TooManyBucketsError, and OverflowError beyond the years 1 to 9999.
    """
    starts: list[datetime] = []
    for start in _starts(since, every, zone):
        if start <= since:
            starts = [start]
        elif start > starts[-1]:  # a day that the zone left out has no instant of its own
            starts.append(start)
        if start >= until and len(starts) > 1:
            break
        if len(starts) > MAX_BUCKETS:
            raise TooManyBucketsError(f"more than {MAX_BUCKETS} buckets")
    return starts


def _starts(since: datetime, every: Every, zone: zoneinfo.ZoneInfo) -> Iterator[datetime]:
    """Yield the starts of buckets in order, the first one not after ``since``."""
    day = since.astimezone(zone).date() - DAY
    if every == "hour":
        while True:
            yield from sorted(_hours(day, zone))
            day += DAY
    day = day - timedelta(days=day.weekday()) if every == "week" else day.replace(day=1) if every == "month" else day
    while True:
        yield _midnight(day, zone)
        day = (
            (day + timedelta(days=31)).replace(day=1)
            if every == "month"
            else day + (DAY * 7 if every == "week" else DAY)
        )


def _midnight(day: date, zone: zoneinfo.ZoneInfo) -> datetime:
    """Return the first instant of a day; where the clock leaves out midnight, that of the change."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _hours(day: date, zone: zoneinfo.ZoneInfo) -> set[datetime]:
    """Return the instants of one day at which its clock begins an hour."""
    instants = set()
    for hour in range(24):
        first = datetime.combine(day, time(hour), zone)
        instants.add(first.astimezone(UTC))
        second = first.replace(fold=1)
        # The offset of the second pass holds only where the clock shows the hour twice.
        if second.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == second.replace(tzinfo=None):
            instants.add(second.astimezone(UTC))
    return instants
