"""The filters of a list of calls, as a request gives them."""

import re

from aiohttp import web

from api.calls.cursor import parse_cursor
from api.http.errors import ApiError
from api.http.query import QueryParams
from services.calls.listing import (
    DIRECTIONS,
    LIMIT,
    MAX_LIMIT,
    MAX_SECONDS,
    OUTCOMES,
    STATES,
    CallFilter,
    digits_of,
    filter_of,
)

PARAMETERS = (
    *("pbx", "from", "to", "number", "endpoint", "queue", "agent", "direction", "outcome", "state"),
    *("transferred", "min_talk", "limit", "cursor", "full", "format", "wait", "as_of"),
)


def call_filter(request: web.Request) -> CallFilter:
    """Return the filters of a request. Raises ApiError 400."""
    params = QueryParams(request, *PARAMETERS)
    since, until = params.time("from"), params.time("to")
    if since and until and since > until:
        raise ApiError(400, "from must not be after to")
    transferred, cursor = params.word("transferred", "true", "false"), params.text("cursor")
    place = None if cursor is None else parse_cursor(cursor)
    values = {
        **{name: params.text(name) for name in ("pbx", "agent", "endpoint", "queue")},
        "number": _number(params),
        "direction": params.word("direction", *DIRECTIONS),
        "outcome": params.word("outcome", *OUTCOMES),
        "state": params.word("state", *STATES),
        "from": since,
        "to": until,
        "transferred": None if transferred is None else transferred == "true",
        "min_talk": _seconds(params),
        "cursor": None if place is None else (place.started_at, place.number),
    }
    is_full = params.word("full", "true", "false") == "true"
    return filter_of(values, params.number("limit", LIMIT, MAX_LIMIT), is_full=is_full)


def _number(params: QueryParams) -> str | None:
    value = params.text("number")
    if value is None:
        return None
    digits = digits_of(value)
    if not digits:
        raise ApiError(400, "number: has no digits")
    return digits


def _seconds(params: QueryParams) -> float | None:
    value = params.text("min_talk")
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,6})?", value) or float(value) > MAX_SECONDS:
        raise ApiError(400, f"min_talk: seconds from 0 to {MAX_SECONDS}")
    return float(value)
