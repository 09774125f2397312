"""A call as a timeline for a terminal, made of its object."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from services.log.times import parse_rfc3339, rfc3339

SHOWN = 6
"""Positions of one line: the first ones, and the last."""
Entry = tuple[str, str]
"""A time as the object has it, and what happened then."""
Teller = Callable[[Mapping[str, Any]], Iterator[Entry]]
Positions = Mapping[str, list[list[int]]]
"""The log positions behind each item of a call, in lists that are parallel to those of the call."""


def story_lines(call: Mapping[str, Any], positions: Positions) -> list[str]:
    """Return the story of a call, one line an event, under a heading; a line ends with the positions behind it."""
    start = parse_rfc3339(call["started_at"])
    entries = sorted(_entries(call, positions), key=lambda entry: entry[0])
    return [*_heading(call), "", *(_line(parse_rfc3339(at), start, text, events) for at, text, events in entries)]


def _line(at: datetime, start: datetime, text: str, positions: list[int]) -> str:
    shown = positions if len(positions) <= SHOWN else [*positions[: SHOWN - 1], positions[-1]]
    events = f"  [{' '.join(map(str, shown))}]" if shown else ""
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03}  {_elapsed(at - start):>9}  {text}{events}"


def _elapsed(passed: timedelta) -> str:
    seconds = passed.total_seconds()
    return f"+{seconds:.1f}s" if seconds < 3600 else f"+{seconds / 3600:.2f}h"


def _heading(call: Mapping[str, Any]) -> Iterator[str]:
    yield f"call {call['linkedid']} of {call['pbx']}: {call['outcome'] or call['state']}"
    yield f"from {person(call['caller'])} to {person(call['destination'])}"
    yield f"started {rfc3339(parse_rfc3339(call['started_at']))}, {_seconds(call['duration_seconds'])} in all,"
    yield f"  {_seconds(call['talk_seconds'])} of talk; sources: {', '.join(call['sources'])}"
    if call["aliases"]:
        yield f"also {', '.join(call['aliases'])}"
    for gap in call["gaps"]:
        yield f"incomplete ({gap['reason']}): no events {_span_of(gap)}"


def _span_of(gap: Mapping[str, Any]) -> str:
    begin = "before" if gap["from"] is None else f"from {gap['from']} until"
    return f"{begin} {gap['until'] or 'now'}"


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f} s"


def person(party: Mapping[str, Any] | None) -> str:
    """Return a person's name, number and endpoint, as far as the call has them."""
    if party is None:
        return "the PBX"
    words = " ".join(word for word in (party.get("name"), party.get("number")) if word)
    endpoint = party.get("endpoint") or ""
    return (f"{words} ({endpoint})" if words and endpoint else words or endpoint) or "?"


def people(parties: list[Mapping[str, Any]]) -> str:
    """Return the persons, separated by commas."""
    return ", ".join(map(person, parties)) or "nobody"


def _entries(call: Mapping[str, Any], positions: Positions) -> Iterator[tuple[str, str, list[int]]]:
    """Yield a time, what happened then, and positions; the last one of an item belongs to its end."""
    dialled = call["dialled"]["number"]
    legs = positions.get("legs") or [[]]
    yield call["started_at"], f"{person(call['caller'])} calls{f' {dialled}' if dialled else ''}", legs[0][:1]
    for name, tell in TELLERS.items():
        for one, events in zip(call[name], positions.get(name) or [[]] * len(call[name]), strict=True):
            lines = list(tell(one))
            for number, (at, text) in enumerate(lines):
                yield at, text, events if len(lines) == 1 else events[-1:] if number else events[:-1] or events
    hangup, last = call["hangup"], sorted(position for events in legs for position in events)[-1:]
    if hangup is not None:
        cause = f", cause {hangup['cause']} ({hangup['cause_text']})" if hangup["cause"] is not None else ""
        yield hangup["at"], f"hangup by {hangup['by'] or 'an unknown side'}{cause}", last
    if call["ended_at"] is not None:
        yield call["ended_at"], "the call ends", last


def _ring(ring: Mapping[str, Any]) -> Iterator[Entry]:
    queue = f" for queue {ring['queue']}" if ring["queue"] else ""
    yield ring["started_at"], f"{person(ring['from'])} rings {person(ring['to'])}{queue}"
    if ring["ended_at"] is not None:
        yield (
            ring["ended_at"],
            f"{person(ring['to'])}: {ring['outcome'] or 'unknown'} after {_seconds(ring['seconds'])}",
        )


def _talk(talk: Mapping[str, Any]) -> Iterator[Entry]:
    where = f" in conference {talk['conference']}" if talk["conference"] else ""
    yield talk["started_at"], f"talk{where}: {people(talk['parties'])}"
    if talk["ended_at"] is not None:
        yield talk["ended_at"], f"end of talk{where} after {_seconds(talk['seconds'])}: {people(talk['parties'])}"


def _transfer(one: Mapping[str, Any]) -> Iterator[Entry]:
    to = people(one["to"]) if one["to"] else one["number"] or "?"
    outcome = f": {one['outcome']}" if one["outcome"] else ""
    yield one["at"], f"{one['kind']} transfer by {person(one['by'])} of {person(one['transferee'])} to {to}{outcome}"


def _passage(one: Mapping[str, Any]) -> Iterator[Entry]:
    place = f", position {one['position']}" if one["position"] else ""
    yield one["entered_at"], f"{person(one['party'])} enters queue {one['queue']}{place}"
    if one["outcome"] is not None:
        agent = f" by {one['agent']['name']}" if one["agent"] else ""
        waited = f" after {_seconds(one['wait_seconds'])}" if one["wait_seconds"] is not None else ""
        at = one["answered_at"] or one["left_at"] or one["entered_at"]
        yield at, f"queue {one['queue']}: {one['outcome']}{agent}{waited}"


def _span(begin: str, end: str, what: Callable[[Mapping[str, Any]], str]) -> Teller:
    def tell(one: Mapping[str, Any]) -> Iterator[Entry]:
        yield one[begin], what(one)
        if one[end] is not None:
            yield one[end], f"end: {what(one)}"

    return tell


# The order is that of entries at the same time.
TELLERS: dict[str, Teller] = {
    "rings": _ring,
    "queues": _passage,
    "transfers": _transfer,
    "conversations": _talk,
    "pickups": lambda one: iter([(one["at"], f"{person(one['by'])} picks up the call of {person(one['of'])}")]),
    "forwards": lambda one: iter([(one["at"], f"{person(one['by'])} forwards to {one['to']}")]),
    "holds": _span("from", "until", lambda one: f"{person(one['by'])} holds"),
    "parks": _span("from", "until", lambda one: f"{person(one['party'])} is parked at {one['space']} of {one['lot']}"),
    "conferences": _span("from", "until", lambda one: f"{person(one['party'])} in conference {one['name']}"),
    "voicemails": lambda one: iter([(one["at"], f"{person(one['party'])} reaches mailbox {one['mailbox']}")]),
    "recordings": _span(
        "started_at", "ended_at", lambda one: f"recording of {person(one['party'])}: {one['path'] or 'file unknown'}"
    ),
}
