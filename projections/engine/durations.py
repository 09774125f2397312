"""Start times by Ringledger's clock, from durations that the PBX has counted.

A view subtracts a start time from its own now. So a start time must never be of the PBX's clock, which may be off by
any amount. It is the time at which the listener read the event, less the seconds that Asterisk had counted.
"""

from datetime import datetime, timedelta

from schemas.ami import AmiEvent

MAX_SECONDS = 2**31
"""Seconds beyond which a number is not a duration."""

START_TOLERANCE = timedelta(seconds=3)
"""How far apart whole seconds and the network may put one moment, with all clocks right."""


def start_time(e: AmiEvent, seconds: int = 0) -> datetime:
    """Return the start time of a duration of ``seconds`` at the time when Asterisk wrote the event."""
    return e.recorded - timedelta(seconds=min(max(seconds, 0), MAX_SECONDS))


def corrected(present: datetime | None, listed: datetime) -> datetime:
    """Return the listed start time, or the present one if both are the same moment.

    Events have microseconds and lists have seconds. Where the two differ by more, Asterisk's count is right: the
    machine's clock was set in between, or the event came late.
    """
    return present if present is not None and abs(present - listed) < START_TOLERANCE else listed
