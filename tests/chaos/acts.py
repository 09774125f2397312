"""Compares the requested acts with the log, and the log with the actions on the wire."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from tests.chaos.wire import Entry, raise_all

UNSENT = frozenset({"expired", "unreachable", "impossible"})


class Tally(Struct):
    """The compared requests by outcome, and the number of actions on the wire."""

    outcomes: Counter[str] = field(default_factory=Counter)
    on_the_wire: int = 0


class ActEntry(NamedTuple):
    position: int
    name: str
    event: dict[str, Any]


def compare(
    entries: Iterable[Entry], responses: dict[str, list[str]], hung_up: Sequence[str], *, has_lost: bool = False
) -> Tally:
    """Compare the requests with the log, and the log with the actions on the wire (their channels).

    Raises DifferenceError for an act without an outcome, and for one that was sent twice or without ActSent. It also
    reports a key with two requests, a 200 for an act that was not done, and an action without an event.
    """
    acts: dict[str, list[ActEntry]] = defaultdict(list)
    for entry in entries:
        if entry.source == "ringledger" and entry.name.startswith("Act"):
            event = msgspec.json.decode(entry.raw)
            acts[event["id"]].append(ActEntry(entry.position, entry.name, event))
    tally = Tally(on_the_wire=len(hung_up))
    differences: list[str] = []
    keys: dict[str, list[str]] = defaultdict(list)
    sent: Counter[str] = Counter()
    for story in acts.values():
        requested = story[0].event
        outcome, difference = _outcome(story)
        if difference:
            differences.append(difference)
        if story[0].name != "ActRequested":
            continue
        tally.outcomes[outcome] += 1
        keys[requested["key"]].append(outcome)
        if any(entry.name == "ActSent" for entry in story):
            sent[requested["act"]["channel"]] += 1
    for key, statuses in responses.items():
        outcomes = keys.get(hashlib.sha256(key.encode()).hexdigest(), [])
        if len(outcomes) > 1:
            differences.append(f"{key} has asked {len(outcomes)} times")
        # A log that came back with older data may have lost the act, or its end.
        if "200" in statuses and outcomes != ["ActSucceeded"] and not (has_lost and outcomes in ([], ["ActUnknown"])):
            differences.append(f"{key} was answered {statuses}, and what came of it is {outcomes}")
    if (extra := Counter(hung_up) - sent) and not has_lost:
        differences.append(f"sent, and not written down before: {dict(extra)}")
    raise_all(differences)
    return tally


def _outcome(story: list[ActEntry]) -> tuple[str, str]:
    """Return the name of the last event, and what is wrong with the story; empty if nothing is."""
    names = [entry.name for entry in story]
    where = f"act of position {story[0].position}: {names}"
    if names[0] != "ActRequested" or names.count("ActRequested") != 1 or names.count("ActSent") > 1:
        return names[-1], where
    ends = [entry for entry in story if entry.name not in {"ActRequested", "ActSent"}]
    if not ends or any(entry.name != "ActUnknown" for entry in ends[:-1]):
        return names[-1], where
    if (ends[-1].event.get("reason", "") in UNSENT) == ("ActSent" in names):
        return names[-1], f"{where}, {ends[-1].event}"
    return ends[-1].name, ""
