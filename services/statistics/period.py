"""A period of statistics and its buckets."""

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from services.statistics.buckets import Every, edges, zone_of

HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)
EPOCH = datetime.fromtimestamp(0, UTC)


class Period(Struct, frozen=True):
    """A period and its buckets.

    ``edges`` are the starts of the buckets and the end of the last one. ``unit`` is the size of the sums that every
    bucket is made of, None where an edge lies between two quarters. The sums from ``sums_from`` to ``sums_to`` lie in
    the period; what is before and after them is counted one by one.
    """

    since: datetime
    until: datetime
    every: Every
    timezone: str
    edges: tuple[datetime, ...]
    unit: timedelta | None
    sums_from: datetime
    sums_to: datetime


def span_of(since: datetime, until: datetime, every: Every, timezone: str) -> Period:
    """Return a period with its buckets. Raises what `edges` raises, and ValueError for no time zone."""
    instants = edges(since, until, every, zone_of(timezone))
    unit = next((one for one in (HOUR, QUARTER) if not any((edge - EPOCH) % one for edge in instants[1:-1])), None)
    sums_from = sums_to = until
    if unit is not None:
        sums_from, sums_to = since + (EPOCH - since) % unit, until - (until - EPOCH) % unit
    if sums_from > sums_to:
        sums_from = sums_to = until
    return Period(since, until, every, timezone, tuple(instants), unit, sums_from, sums_to)
