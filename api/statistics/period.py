"""The parameters that both statistics share: names, a period in a time zone, and its buckets."""

from datetime import UTC, datetime, timedelta

from aiohttp import web
from msgspec import Struct

from api.http.errors import ApiError
from api.http.query import QueryParams
from api.statistics.buckets import EVERY, MAX_BUCKETS, Every, TooManyBucketsError, day_of, edges, zone_of
from services.log.times import parse_rfc3339

HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)
EPOCH = datetime.fromtimestamp(0, UTC)
MAX_NAMES = 1_000
CSV = "text/csv"


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


def is_csv(request: web.Request, params: QueryParams) -> bool:
    """Return whether the client wants CSV."""
    form = params.word("format", "json", "csv")
    return form == "csv" or (form is None and CSV in request.headers.get("Accept", ""))


def names(params: QueryParams) -> tuple[str, ...]:
    """Return the names of the request, each once, none for all."""
    given = tuple(dict.fromkeys(params.texts("name") or ()))
    if len(given) > MAX_NAMES:
        raise ApiError(400, f"name: no more than {MAX_NAMES}")
    return given


def period(params: QueryParams, now: datetime) -> Period:
    """Return the period of a request. Raises ApiError 400."""
    word = params.word("every", *EVERY)
    every: Every = next((one for one in EVERY if one == word), "day")
    timezone = params.text("timezone") or "UTC"
    try:
        today = day_of(_as_of(params) or now, zone_of(timezone))
        since, until = params.time("from") or today[0], params.time("to") or today[1]
        if since > until:
            raise ApiError(400, "from must not be after to")
        return span_of(since, until, every, timezone)
    except TooManyBucketsError:
        raise ApiError(400, f"every: the period has more than {MAX_BUCKETS} of them") from None
    except OverflowError:
        raise ApiError(400, "from, to: times of the years 2 to 9998") from None
    except ValueError as error:
        raise ApiError(400, f"timezone: {error}") from None


def span_of(since: datetime, until: datetime, every: Every, timezone: str) -> Period:
    """Return a period with its buckets. Raises what `edges` raises, and ValueError for no time zone."""
    found = edges(since, until, every, zone_of(timezone))
    unit = next((one for one in (HOUR, QUARTER) if not any((edge - EPOCH) % one for edge in found[1:-1])), None)
    sums_from = sums_to = until
    if unit is not None:
        sums_from, sums_to = since + (EPOCH - since) % unit, until - (until - EPOCH) % unit
    if sums_from > sums_to:
        sums_from = sums_to = until
    return Period(since, until, every, timezone, tuple(found), unit, sums_from, sums_to)


def _as_of(params: QueryParams) -> datetime | None:
    """Return the time of ``as_of``, None for a position or without it."""
    try:
        return parse_rfc3339(params.text("as_of") or "")
    except ValueError:
        return None
