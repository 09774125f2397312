"""Times of the log as text (RFC 3339, in UTC) and as microseconds since the epoch."""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime.fromtimestamp(0, UTC)
TICK = timedelta(microseconds=1)
# An unescaped "+" arrives from a query string as a space.
RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d+)?)(?:[Zz]|([-+ ])(\d\d:\d\d))", re.ASCII)


def parse_rfc3339(text: str) -> datetime:
    """Return the time in UTC; digits below a microsecond are cut off. Raises ValueError."""
    match = RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a time such as 2026-11-23T14:03:00Z")
    day, time, sign, offset = match.groups()
    zone = f"{'-' if sign == '-' else '+'}{offset}" if offset else "+00:00"
    try:
        return datetime.fromisoformat(f"{day}T{time}{zone}").astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def rfc3339(at: datetime, timespec: str = "auto") -> str:
    """Return the time in UTC with a final Z; ``timespec`` is that of `datetime.isoformat`."""
    return at.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def rfc3339_microseconds(at: datetime | None) -> str | None:
    """Return the time with all six digits of the second, None without one."""
    return None if at is None else rfc3339(at, "microseconds")


def to_microseconds(at: datetime) -> int:
    """Return the microseconds since the epoch."""
    return (at - EPOCH) // TICK


def from_microseconds(microseconds: int) -> datetime:
    """Return the time in UTC. Raises OverflowError outside the years 1 to 9999."""
    return EPOCH + microseconds * TICK
