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
PARTS = {
    "pbx": "        AND c.pbx = {}::text\n",
    "from": "        AND {order}.started_at >= {}::timestamptz\n",
    "to": "        AND {order}.started_at < {}::timestamptz\n",
    "cursor": "        AND ({order}.started_at, {order}.number) < ({}::timestamptz, {}::bigint)\n",
    "direction": "        AND c.direction = {}::text\n",
    "outcome": "        AND c.outcome = {}::text\n",
    "state": "        AND c.state = {}::text\n",
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


class CallFilter(Struct, frozen=True):
    """The filters of one request: the names of `PARTS` with their parameters."""

    is_full: bool
    limit: int
    parts: tuple[tuple[str, tuple[Any, ...]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the filters that are given."""
        return tuple(name for name, _ in self.parts)

    @property
    def args(self) -> tuple[Any, ...]:
        """The parameters of the SQL, but for the PBX, which precedes them."""
        return (self.limit, *(value for name, values in self.parts if name != "pbx" for value in values))


FILTERS = ("pbx", *TAGS, "direction", "outcome", "state", "from", "to")
"""The filters with one value each; the others are ``transferred``, ``min_talk`` and ``cursor``."""


def filter_of(given: Mapping[str, Any], limit: int, *, is_full: bool = False) -> CallFilter:
    """Return a filter of values by name; None is no filter. A cursor is a time and a number."""
    parts: list[tuple[str, tuple[Any, ...]]] = [(n, (given[n],)) for n in FILTERS if given.get(n) is not None]
    if given.get("transferred") is not None:
        parts.append(("transferred" if given["transferred"] else "not_transferred", ()))
    if given.get("min_talk") is not None:
        parts.append((talk_part(given["min_talk"]), (given["min_talk"],)))
    if given.get("cursor") is not None:
        parts.append(("cursor", given["cursor"]))
    return CallFilter(is_full, limit, tuple(parts))


@lru_cache(maxsize=1024)
def list_sql(names: tuple[str, ...], *, is_full: bool) -> str:
    """Return the SQL of a list by these filters: the parameters are the PBX if given, the limit, theirs in order."""
    walking = next((tag for tag in TAGS if tag in names), None)
    order, conditions, value = "t" if walking else "c", [], ""
    limit = "$2" if "pbx" in names else "$1"
    number = int(limit[1]) + 1
    for name in names:
        if name == "pbx":
            conditions.append(PARTS[name].format("$1"))
            continue
        count = PARTS[name].count("{}")
        places = [f"${n}" for n in range(number, number + count)]
        number += count
        if name == walking:
            value = places[0]
        else:
            conditions.append(PARTS[name].format(*places, order=order))
    walk = TAG_WALK.format(tag=walking, value=value) if walking else WALK
    story, end = STORY.format(limit=limit), END.format(order=order, limit=limit)
    return (FULL if is_full else SUMMARY) + story + walk + "".join(conditions) + end


def digits_of(number: str) -> str:
    """Return the digits of a number, as its tag has them."""
    return re.sub(r"[^0-9]", "", number)


def talk_part(seconds: float) -> str:
    """Return the part whose partial index leaves out the most calls."""
    return next((f"min_talk_{least}" for least in TALKS if seconds >= least), "min_talk")
