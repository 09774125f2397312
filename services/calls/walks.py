"""How a page of calls is found: one walk along one ordered index, that of the filter with the fewest calls.

Each filter with an index may be walked. Where several are given, the SQL first counts the calls of each, up to the
most that a walk reads, and walks the shortest. The other filters are compared at each of its calls.

A walk reads `MOST_CALLS` at most, beside the page. Where two filters have more calls each, and few in common, the
page is cut: it has the calls found so far, perhaps none, and its cursor is where the walk ended. So every request is
short. A tag's index has a Bloom filter of each call, which leaves out most calls that lack another value.
"""

from collections.abc import Mapping

from msgspec import Struct

MOST_CALLS = 2_000
"""Calls that a walk reads, at five to twenty microseconds each."""
MOST_TAGS = 30_000
"""Tags that a walk compares in their index. It reads the calls whose Bloom filters have all bits."""
MOST_TALKS = 100_000
"""Entries that a walk compares in an index that has no more than the time and the seconds of talk."""
LEAST_TALK = 60
"""The index by seconds of talk leaves out calls with fewer."""
TALKS = {"min_talk_3600": 3600, "min_talk_900": 900, "min_talk_300": 300, "min_talk_60": LEAST_TALK}
"""The filters by the least seconds of talk, with those of which an index leads to the calls with at least as much."""
TAGS = ("number", "agent", "endpoint", "queue")
COLUMNS = ("outcome", "direction", "pbx")
TIMES = ("since", "before")
CALL_FILTERS: dict[str, str] = {
    "pbx": "{row}.pbx = {}",
    "since": "{row}.started_at >= {}",
    "before": "({row}.started_at, {row}.number) < ({}, {})",
    "direction": "{row}.direction = {}",
    "outcome": "{row}.outcome = {}",
    "state": "{row}.state = {}",
    "ended": "{row}.state = 'ended'",
    "transferred": "{row}.is_transferred",
    "not_transferred": "NOT {row}.is_transferred",
    **dict.fromkeys(("min_talk", *TALKS), "{row}.talk_seconds >= {}"),
    "mask": "{} IS NOT NULL",
}
"""The comparisons of a call with the parameters of a filter; the mask is for the Bloom filters of tags alone."""
COMPARED = ("pbx", "linkedid", "is_told", "direction", "outcome", "state", "is_transferred", "talk_seconds")
# PostgreSQL runs a scalar subquery, and one with OFFSET 0, call by call. It would join others with all of their calls.
HAS_TAG = """(SELECT true FROM call_tags x
                        WHERE x.pbx = {row}.pbx AND x.linkedid = {row}.linkedid AND x.kind = '{tag}'
                          AND x.value = {value} LIMIT 1)"""
CALL_OF = {
    "key": " FROM calls c WHERE c.pbx = w.pbx AND c.linkedid = w.linkedid",
    "place": " FROM calls c WHERE c.started_at = w.started_at AND c.number = w.number",
    "": "",
}
# Bounds in place of an equality. PostgreSQL would drop a constant column from the order. It might then walk the index
# of all calls, although the calls with this value are far away.
ENTRIES = """FROM {table} w
          WHERE ({columns}) >= ({least}) AND ({columns}) < ({end}){condition}{gate}
          ORDER BY {order} LIMIT {most}"""
WALK = """
    (SELECT m.pbx, m.linkedid, w.started_at, w.number, m.is_match, w.place = {most} OR w.ordinal = {calls} AS is_cut
     FROM (SELECT w.*, row_number() OVER (ORDER BY {order}) AS ordinal
           FROM (SELECT {read}, row_number() OVER (ORDER BY {order}) AS place
                 {entries}) AS w
           WHERE {early} OR w.place = {most}
           ORDER BY {order} LIMIT {calls}) AS w
     CROSS JOIN LATERAL (SELECT {row}.pbx, {row}.linkedid, {match} AS is_match{call} OFFSET 0) AS m
     WHERE m.is_match OR w.place = {most} OR w.ordinal = {calls}
     ORDER BY {order} LIMIT {limit} + 1)"""
SIZE = """
    SELECT {number} AS walk, nullif((SELECT count(*) FROM (SELECT {entries}) AS s), {most} + 1) AS calls"""
TALK_ENTRIES = """FROM calls w
          WHERE w.talk_seconds >= 60 AND w.talk_seconds >= {seconds}{gate}
          ORDER BY w.talk_seconds LIMIT {most}"""
TALK_WALK = """
    (SELECT w.pbx, w.linkedid, w.started_at, w.number, true AS is_match, false AS is_cut
     FROM (SELECT {read}
           {entries}) AS w
     WHERE {match}
     ORDER BY w.started_at DESC, w.number DESC LIMIT {limit} + 1)"""
CHOICE = """
    WITH sizes AS MATERIALIZED ({sizes}
    ), choice AS MATERIALIZED (SELECT walk FROM sizes ORDER BY calls NULLS LAST, walk LIMIT 1)
    SELECT * FROM ({walks}
    ) AS u ORDER BY u.started_at DESC, u.number DESC LIMIT {limit} + 1"""
GATE = "\n            AND (SELECT walk FROM choice) = {number}"

Places = Mapping[str, tuple[str, ...]]
"""The placeholders of the parameters of each filter."""


class Walk(Struct, frozen=True):
    """An ordered index: its first columns with their values, its partial condition, and the filter that it answers.

    ``has_talk`` is an index that has the seconds of talk.
    """

    answers: str
    table: str = "calls"
    first: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    condition: str = ""
    has_talk: bool = False

    def sql(self, names: tuple[str, ...], places: Places, limit: str, gate: str) -> str:
        """Return the SQL of the matching calls along this index, the newest first."""
        talk = places[self.answers][0] if self.has_talk else ""
        row, call = ("c", "place") if talk else ("w", "") if self.table == "calls" else ("c", "key")
        read = ("talk_seconds",) if talk else COMPARED if row == "w" else ("pbx", "linkedid", "bloom")
        most = f"{self.most} + {limit}"
        early = [f"w.talk_seconds >= {talk}"] if talk else []
        if self.table == "call_tags":
            early += [f"w.pbx = {places['pbx'][0]}"] if "pbx" in names else []
            early += ["w.bloom & {0} = {0}".format(*places["mask"])] if "mask" in names else []
        return WALK.format(
            row=row,
            match=match_of([name for name in names if name not in {self.answers, *TIMES, "mask"}], places, row),
            read=", ".join(f"w.{column}" for column in dict.fromkeys((*self._columns, *read))),
            order=self._order,
            entries=self.entries(places, most, gate),
            call=CALL_OF[call],
            early=" AND ".join(early) or "true",
            most=most,
            calls=f"{MOST_CALLS} + {limit}",
            limit=limit,
        )

    def entries(self, places: Places, most: str, gate: str = "") -> str:
        """Return the SQL of the entries of the index between the bounds of time, without their columns."""
        since = places.get("since", ("'-infinity'::timestamptz",))
        before = places.get("before", ("'infinity'::timestamptz", "0"))
        return ENTRIES.format(
            table=self.table,
            columns=", ".join(f"w.{column}" for column in self._columns),
            least=", ".join((*self.values, *since, "0")),
            end=", ".join((*self.values, *before)),
            condition=f" AND {self.condition}" if self.condition else "",
            order=self._order,
            most=most,
            gate=gate,
        )

    @property
    def most(self) -> int:
        """The calls that a walk reads beside the page."""
        return MOST_TALKS if self.has_talk else MOST_CALLS if self.table == "calls" else MOST_TAGS

    @property
    def _columns(self) -> tuple[str, ...]:
        return (*self.first, "started_at", "number")

    @property
    def _order(self) -> str:
        return ", ".join(f"w.{column} DESC" for column in self._columns)


def match_of(names: list[str], places: Places, row: str) -> str:
    """Return the condition that a call meets these filters; of `HAS_TAG` NULL is no."""
    tags = [HAS_TAG.format(row=row, tag=name, value=places[name][0]) for name in names if name in TAGS]
    others = [CALL_FILTERS[name].format(*places[name], row=row) for name in names if name not in TAGS]
    return f"({' AND '.join([f'{row}.is_told', *others, *tags])})"


def page_sql(names: tuple[str, ...], places: Places, limit: str) -> str:
    """Return the SQL of the keys of a page: pbx, linkedid, started_at, number, is_match and is_cut."""
    walks = walks_of(names, places)
    talk = next((name for name in TALKS if name in names), None)
    if len(walks) == 1 and talk is None:
        return walks[0].sql(names, places, limit, "")
    sizes, branches = [], []
    for number, walk in enumerate(walks, 1):
        sizes.append(SIZE.format(number=number, most=walk.most, entries=walk.entries(places, f"{walk.most} + 1")))
        branches.append(walk.sql(names, places, limit, GATE.format(number=number)))
    if talk is not None:
        number, seconds = len(walks) + 1, places[talk][0]
        entries = TALK_ENTRIES.format(seconds=seconds, most=f"{MOST_CALLS} + 1", gate="")
        sizes.append(SIZE.format(number=number, most=MOST_CALLS, entries=entries))
        entries = TALK_ENTRIES.format(seconds=seconds, most=MOST_CALLS, gate=GATE.format(number=number))
        match = match_of([name for name in names if name not in {talk, "mask"}], places, "w")
        read = ", ".join(f"w.{column}" for column in ("started_at", "number", *COMPARED))
        branches.append(TALK_WALK.format(read=read, entries=entries, match=match, limit=limit))
    return CHOICE.format(sizes="\n    UNION ALL".join(sizes), walks="\n    UNION ALL".join(branches), limit=limit)


def walks_of(names: tuple[str, ...], places: Places) -> list[Walk]:
    """Return the walks by these filters, the preferred one first."""
    walks = [Walk(tag, "call_tags", ("kind", "value"), (f"'{tag}'", places[tag][0])) for tag in TAGS if tag in names]
    if "state" in names:
        walks.append(Walk("state", first=("state",), values=places["state"], condition="w.state <> 'ended'"))
    walks += [Walk(name, first=(name,), values=places[name]) for name in COLUMNS if name in names]
    if "transferred" in names:
        walks.append(Walk("transferred", condition="w.is_transferred"))
    talk = next((name for name in ("min_talk", *TALKS) if name in names), "")
    if walks or not talk:
        return walks or [Walk("")]
    least = TALKS.get(talk, 0)
    return [Walk(talk, condition=f"w.talk_seconds >= {least}" if least > LEAST_TALK else "", has_talk=True)]
