"""The parameters that both statistics share: names, a period in a time zone, and its buckets."""

from datetime import datetime

from aiohttp import web

from api.http.errors import ApiError
from api.http.query import QueryParams
from services.log.times import parse_rfc3339
from services.statistics.buckets import EVERY, MAX_BUCKETS, Every, TooManyBucketsError, day_of, zone_of
from services.statistics.period import Period, span_of

MAX_NAMES = 1_000
CSV = "text/csv"


def is_csv(request: web.Request, params: QueryParams) -> bool:
    """Return whether the client requests CSV."""
    form = params.word("format", "json", "csv")
    return form == "csv" or (form is None and CSV in request.headers.get("Accept", ""))


def names(params: QueryParams) -> tuple[str, ...]:
    """Return the names of the request, each once, none for all."""
    unique = tuple(dict.fromkeys(params.texts("name") or ()))
    if len(unique) > MAX_NAMES:
        raise ApiError(400, f"name: no more than {MAX_NAMES}")
    return unique


def period(params: QueryParams, now: datetime) -> Period:
    """Return the period of a request. Raises ApiError 400."""
    word = params.word("every", *EVERY)
    every: Every = next((one for one in EVERY if one == word), "day")
    name = params.text("timezone")
    timezone = "UTC" if name is None else name
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


def _as_of(params: QueryParams) -> datetime | None:
    """Return the time of ``as_of``, None for a position or without it."""
    try:
        return parse_rfc3339(params.text("as_of") or "")
    except ValueError:
        return None
