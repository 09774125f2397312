"""The SQL of a list of calls, put together from constant parts of the filters that are given.

So PostgreSQL plans one walk of one ordered index: that of a tag, or of the column that a filter compares.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

LIMIT = 100
MAX_LIMIT = 10_000
MAX_SECONDS = 1 << 31

DIRECTIONS = ("internal", "inbound", "outbound", "transit")
STATES = ("dialling", "ringing", "waiting", "talking", "held", "parked", "pbx", "ended")
OUTCOMES = (
    *("answered", "busy", "no_answer", "cancelled", "congestion", "failed", "abandoned", "timeout"),
    *("pbx_only", "unknown"),
)
TAGS = ("number", "agent", "endpoint", "queue")
"""The filters by a tag; the first of those that are given walks the index, because it matches the fewest calls."""
TALKS = (3600, 900, 300, 60)
"""The seconds of talk of which partial indexes lead to the calls with at least as much."""
SUMMARY = """
SELECT c.number, c.started_at, c.page_size,
       (c.body - '{parties,rings,conversations,transfers,pickups,forwards,queues,holds,parks,conferences,voicemails,
                   recordings,legs,gaps}'::text[])::text AS body,
"""
FULL = """
SELECT c.number, c.started_at, c.page_size, c.body::text AS body,
"""
STORY = """       c.pbx, c.linkedid, c.tm_update, c.answered_at, c.ended_at, c.state, c.is_told, c.direction, c.outcome,
       c.is_originated, c.is_transferred, c.talk_seconds, c.duration_seconds, c.aliases, c.sources, c.story
FROM (SELECT c.*, {limit}::bigint AS page_size
"""
WALK = """      FROM calls c
      WHERE c.is_told
"""
TAG_WALK = """      FROM call_tags t JOIN calls c ON c.pbx = t.pbx AND c.linkedid = t.linkedid
      WHERE c.is_told AND t.kind = '{tag}' AND t.value = {value}::text
"""
END = """      ORDER BY {order}.started_at DESC, {order}.number DESC LIMIT {limit}::bigint + 1) AS c
ORDER BY c.started_at DESC, c.number DESC
"""
# Bounds in place of an equality. PostgreSQL would drop a constant column from the order. It might then walk the index
# of all calls, although the calls with this value are far away.
COLUMN_END = """      ORDER BY c.{column} DESC, c.started_at DESC, c.number DESC LIMIT {limit}::bigint + 1) AS c
ORDER BY c.started_at DESC, c.number DESC
"""
COLUMN_BOUNDS = {
    "since": "        AND (c.{column}, c.started_at, c.number) >= ({value}::text, {}::timestamptz, 0)\n",
    "before": "        AND (c.{column}, c.started_at, c.number) < ({value}::text, {}::timestamptz, {}::bigint)\n",
}
OPEN_BOUNDS = {
    "since": "        AND c.{column} >= {value}::text\n",
    "before": "        AND c.{column} <= {value}::text\n",
}
PARTS = {
    "pbx": "        AND c.pbx = {}::text\n",
    "since": "        AND {order}.started_at >= {}::timestamptz\n",
    "before": "        AND ({order}.started_at, {order}.number) < ({}::timestamptz, {}::bigint)\n",
    "direction": "        AND c.direction = {}::text\n",
    "outcome": "        AND c.outcome = {}::text\n",
    "state": "        AND c.state = {}::text\n",
    "ended": "        AND c.state = 'ended'\n",
    "transferred": "        AND c.is_transferred\n",
    "not_transferred": "        AND NOT c.is_transferred\n",
    "min_talk": "        AND c.talk_seconds >= {}::float8\n",
    **{
        f"min_talk_{least}": f"        AND c.talk_seconds >= {least} AND c.talk_seconds >= {{}}::float8\n"
        for least in TALKS
    },
    **{
        tag: f"""        AND EXISTS (SELECT FROM call_tags x WHERE x.pbx = c.pbx AND x.linkedid = c.linkedid
                    AND x.kind = '{tag}' AND x.value = {{}}::text)
"""
        for tag in TAGS
    },
}
FEW = ("transferred", "min_talk_3600", "min_talk_900")
"""The parts whose partial indexes have few calls."""
COLUMNS = ("state", "outcome", "direction", "pbx")
"""The filters by a column; the first of those that are present walks its index."""


class CallFilter(Struct, frozen=True):
    """The filters of one request: the names of `PARTS` with their parameters."""

    is_full: bool
    limit: int
    parts: tuple[tuple[str, tuple[Any, ...]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts."""
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
        parts.append((talk_part(values["min_talk"]), (values["min_talk"],)))
    return CallFilter(is_full, limit, tuple(parts))


@lru_cache(maxsize=1024)
def list_sql(names: tuple[str, ...], *, is_full: bool) -> str:
    """Return the SQL of a list by these filters: the parameters are the PBX if given, the limit, theirs in order."""
    limit = "$2" if "pbx" in names else "$1"
    places: dict[str, list[str]] = {"pbx": ["$1"]}
    number = int(limit[1]) + 1
    for name in names:
        if name != "pbx":
            places[name] = [f"${n}" for n in range(number, number + PARTS[name].count("{}"))]
            number += len(places[name])
    tag = next((name for name in TAGS if name in names), None)
    column = next((name for name in COLUMNS if name in names), None)
    story = (FULL if is_full else SUMMARY) + STORY.format(limit=limit)
    if tag is None and column is not None and not any(name in names for name in FEW):
        return story + WALK + _column_walk(column, names, places) + COLUMN_END.format(column=column, limit=limit)
    order = "t" if tag else "c"
    walk = TAG_WALK.format(tag=tag, value=places[tag][0]) if tag else WALK
    rest = "".join(PARTS[name].format(*places[name], order=order) for name in names if name != tag)
    return story + walk + rest + END.format(order=order, limit=limit)


def _column_walk(column: str, names: tuple[str, ...], places: Mapping[str, list[str]]) -> str:
    value = places[column][0]
    bounds = [
        (COLUMN_BOUNDS if name in names else OPEN_BOUNDS)[name].format(
            *places.get(name, ()), column=column, value=value
        )
        for name in ("since", "before")
    ]
    rest = [PARTS[name].format(*places[name]) for name in names if name not in {column, "since", "before"}]
    return "".join([*bounds, *rest])


def digits_of(number: str) -> str:
    """Return the digits of a number, as its tag has them."""
    return re.sub(r"[^0-9]", "", number)


def talk_part(seconds: float) -> str:
    """Return the part whose partial index leaves out the most calls."""
    return next((f"min_talk_{least}" for least in TALKS if seconds >= least), "min_talk")
