"""The filters of a list of calls, as a request gives them."""

import re
from collections.abc import Callable
from typing import Any

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
    talk_part,
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
    given: list[tuple[str, tuple[Any, ...]]] = []
    readers: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("pbx", lambda: params.text("pbx")),
        ("number", lambda: _number(params)),
        ("agent", lambda: params.text("agent")),
        ("endpoint", lambda: params.text("endpoint")),
        ("queue", lambda: params.text("queue")),
        ("direction", lambda: params.word("direction", *DIRECTIONS)),
        ("outcome", lambda: params.word("outcome", *OUTCOMES)),
        ("state", lambda: params.word("state", *STATES)),
        ("from", lambda: since),
        ("to", lambda: until),
    )
    for name, read in readers:
        if (value := read()) is not None:
            given.append((name, (value,)))
    if (transferred := params.word("transferred", "true", "false")) is not None:
        given.append(("transferred" if transferred == "true" else "not_transferred", ()))
    if (seconds := _seconds(params)) is not None:
        given.append((talk_part(seconds), (seconds,)))
    if (cursor := params.text("cursor")) is not None:
        place = parse_cursor(cursor)
        given.append(("cursor", (place.started_at, place.number)))
    is_full = params.word("full", "true", "false") == "true"
    return CallFilter(is_full, params.number("limit", LIMIT, MAX_LIMIT), tuple(given))


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
