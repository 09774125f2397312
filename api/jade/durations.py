"""Durations of views that tick, in whole seconds."""

from datetime import datetime, timedelta

SECOND = timedelta(seconds=1)


def elapsed_seconds(since: datetime | None, now: datetime) -> int:
    """Return the seconds since a time, rounded down; 0 for a time that is unknown or ahead."""
    return 0 if since is None else max(0, (now - since) // SECOND)


def remaining_seconds(until: datetime | None, now: datetime) -> int:
    """Return the seconds until a time, rounded up; 0 for a time that is unknown or past."""
    return 0 if until is None else max(0, -((now - until) // SECOND))
