"""The filters of a list of calls, and the SQL of a page, put together from constant parts of the filters given."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import asyncpg
from msgspec import Struct

from projections.calls.bloom import bloom_of
from services.calls.page import Place, page_of
from services.calls.walks import CALL_FILTERS, TAGS, TALKS, page_sql

LIMIT = 100
MAX_LIMIT = 10_000
MAX_SECONDS = 1 << 31

DIRECTIONS = ("internal", "inbound", "outbound", "transit")
STATES = ("dialling", "ringing", "waiting", "talking", "held", "parked", "pbx", "ended")
OUTCOMES = (
    *("answered", "busy", "no_answer", "cancelled", "congestion", "failed", "abandoned", "timeout"),
    *("pbx_only", "unknown"),
)
SUMMARY = """
SELECT p.is_match, p.is_cut, c.number, c.started_at, {limit} AS page_size,
       (c.body - '{{parties,rings,conversations,transfers,pickups,forwards,queues,holds,parks,conferences,voicemails,
                    recordings,legs,gaps}}'::text[])::text AS body,
"""
FULL = """
SELECT p.is_match, p.is_cut, c.number, c.started_at, {limit} AS page_size, c.body::text AS body,
"""
STORY = """       c.pbx, c.linkedid, c.tm_update, c.answered_at, c.ended_at, c.state, c.is_told, c.direction, c.outcome,
       c.is_originated, c.is_transferred, c.talk_seconds, c.duration_seconds, c.aliases, c.sources, c.story
"""
# The calls of the page are read by their keys, so no other call's body is.
PAGE = """FROM ({page}
     ) AS p
CROSS JOIN LATERAL (SELECT c.* FROM calls c WHERE c.pbx = p.pbx AND c.linkedid = p.linkedid OFFSET 0) AS c
ORDER BY c.started_at DESC, c.number DESC
"""
# Rows of the past have no indexes, and are few: PostgreSQL compares all of them.
PAST = """FROM (SELECT true AS is_match, false AS is_cut) AS p CROSS JOIN calls c
WHERE c.is_told{filters}
ORDER BY c.started_at DESC, c.number DESC LIMIT {limit} + 1
"""
PAST_TAG = """
  AND (c.pbx, c.linkedid) IN (SELECT x.pbx, x.linkedid FROM call_tags x WHERE x.kind = '{tag}' AND x.value = {value})
"""

PARAMETERS: dict[str, tuple[str, ...]] = {
    "since": ("timestamptz",),
    "before": ("timestamptz", "bigint"),
    "mask": ("bigint",),
    "ended": (),
    "transferred": (),
    "not_transferred": (),
}
"""The types of the parameters of a filter; others have one text, or one float8."""


class CallFilter(Struct, frozen=True):
    """The filters of one request by their names in `CALL_FILTERS` and `TAGS`, with the parameters of each."""

    is_full: bool
    limit: int
    parts: tuple[tuple[str, tuple[Any, ...]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the filters."""
        return tuple(name for name, _ in self.parts)

    @property
    def args(self) -> tuple[Any, ...]:
        """The parameters of the SQL, but for the PBX, which precedes them."""
        return (self.limit, *(value for name, values in self.parts if name != "pbx" for value in values))


def filter_of(values: Mapping[str, Any], limit: int, *, is_full: bool = False) -> CallFilter:
    """Return the filter of values by the names of parameters; None is no filter. A cursor is a time and a number."""
    names = [name for name in ("pbx", *TAGS, "direction", "outcome", "state") if values.get(name) is not None]
    parts: list[tuple[str, tuple[Any, ...]]] = [(name, (values[name],)) for name in names]
    if values.get("state") == "ended":
        parts[-1] = ("ended", ())
    if values.get("from") is not None:
        parts.append(("since", (values["from"],)))
    ends = [end for end in ((values.get("to"), 0), values.get("cursor")) if end is not None and end[0] is not None]
    if ends:
        parts.append(("before", min(ends)))
    if values.get("transferred") is not None:
        parts.append(("transferred" if values["transferred"] else "not_transferred", ()))
    if values.get("min_talk") is not None:
        parts.append((talk_filter(values["min_talk"]), (values["min_talk"],)))
    if any(tag in names for tag in TAGS) and len(parts) > 1:
        parts.append(("mask", (_mask_of(values),)))
    return CallFilter(is_full, limit, tuple(parts))


def _mask_of(values: Mapping[str, Any]) -> int:
    """Return the bits that the Bloom filter of a matching call has."""
    tags = [(tag, values[tag]) for tag in TAGS if values.get(tag) is not None]
    columns = (values.get("direction"), values.get("outcome"), values.get("min_talk") or 0.0)
    return bloom_of(tags, *columns, is_transferred=bool(values.get("transferred")))


@lru_cache(maxsize=1024)
def list_sql(names: tuple[str, ...], *, is_full: bool) -> str:
    """Return the SQL of a page by these filters: the parameters are the PBX if given, the limit, theirs in order.

    A row is a call of the page, or the one at which the walk was cut; `page_of` separates them.
    """
    limit, places = _places(names)
    columns = (FULL if is_full else SUMMARY).format(limit=limit) + STORY
    return columns + PAGE.format(page=page_sql(names, places, limit))


@lru_cache(maxsize=1024)
def past_sql(names: tuple[str, ...], *, is_full: bool) -> str:
    """Return SQL with the parameters and the matching rows of `list_sql`, for tables without indexes."""
    limit, places = _places(names)
    filters = [
        PAST_TAG.format(tag=name, value=places[name][0]).rstrip()
        if name in TAGS
        else " AND " + CALL_FILTERS[name].format(*places[name], row="c")
        for name in names
    ]
    columns = (FULL if is_full else SUMMARY).format(limit=limit) + STORY
    return columns + PAST.format(filters="".join(filters), limit=limit)


async def first_calls(connection: asyncpg.Connection, values: Mapping[str, Any], limit: int) -> list[Mapping[str, Any]]:
    """Return the rows of the first calls by the values of filters, however many walks that takes."""
    rows: list[Mapping[str, Any]] = []
    cursor: Place | None = values.get("cursor")
    while True:
        filters = filter_of({**values, "cursor": cursor}, limit - len(rows))
        parameters = filters.args if values.get("pbx") is None else (values["pbx"], *filters.args)
        calls, cursor = page_of(await connection.fetch(list_sql(filters.names, is_full=False), *parameters))
        rows += calls
        if cursor is None or len(rows) == limit:
            return rows


def _places(names: tuple[str, ...]) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Return the placeholder of the limit, and those of each filter, with their types."""
    number = 2 if "pbx" in names else 1
    limit = f"${number}::bigint"
    places: dict[str, tuple[str, ...]] = {}
    for name in names:
        if name == "pbx":
            places[name] = ("$1::text",)
            continue
        types = PARAMETERS.get(name, ("float8",) if name.startswith("min_talk") else ("text",))
        places[name] = tuple(f"${number + place}::{kind}" for place, kind in enumerate(types, 1))
        number += len(types)
    return limit, places


def digits_of(number: str) -> str:
    """Return the digits of a number, as its tag has them."""
    return re.sub(r"[^0-9]", "", number)


def talk_filter(seconds: float) -> str:
    """Return the filter of the least seconds of talk whose partial index leaves out the most calls."""
    return next((name for name, least in TALKS.items() if seconds >= least), "min_talk")
