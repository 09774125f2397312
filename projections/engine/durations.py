"""When something began, from how long it has lasted: the seconds are the PBX's own, the moment is ours.

A view subtracts a beginning from its own now, so a beginning is never a time of the PBX's clock, which may be off by
any amount. It is when our listener read the event, less the seconds that Asterisk had counted by then.
"""

from datetime import datetime, timedelta

from schemas.ami import AmiEvent

LONGEST = 2**31
"""Seconds beyond which a number is no duration."""

CLOSE = timedelta(seconds=3)
"""How far apart whole seconds and the way to us may put one moment, with all clocks right."""


def began(e: AmiEvent, seconds: int = 0) -> datetime:
    """Return when that began which had lasted so many seconds when Asterisk wrote the event."""
    return e.recorded - timedelta(seconds=min(max(seconds, 0), LONGEST))


def corrected(known: datetime | None, listed: datetime) -> datetime:
    """Return the beginning that a list gives, or the one that is known already if it is the same moment.

    An event gives a beginning to the microsecond and a list to the second. Where the two differ by more, Asterisk's
    count is right: our clock was set meanwhile, or the event came late.
    """
    return known if known is not None and abs(known - listed) < CLOSE else listed
