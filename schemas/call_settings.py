"""How calls are read: which endpoints are trunks, and which words of a dialplan in queue_log are outcomes."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Literal, get_args

from msgspec import field

from schemas.ami import OwnEvent
from schemas.log import RingledgerEvent
from schemas.queue_log import ATTENDED_TRANSFER, DATA, OTHER

QueueOutcome = Literal["abandoned", "timeout", "exit_key", "left_empty", "join_empty", "full", "closed", "withdrawn"]
"""How a caller's time in a queue may end without an agent; see `REFUSED` for those who never entered."""
OUTCOMES: tuple[QueueOutcome, ...] = get_args(QueueOutcome)
REFUSED: frozenset[QueueOutcome] = frozenset({"join_empty", "full", "closed"})
"""Outcomes of callers who never entered the queue: they have no ENTERQUEUE."""

QUEUE_EVENTS: dict[str, QueueOutcome] = {
    "CLOSED": "closed",
    "FULL": "full",
    "DIVERT_CA_RATIO": "full",
    "DIVERT_HOLDTIME": "full",
    "JOINEMPTY": "join_empty",
    "LEAVEEMPTY": "left_empty",
}
"""The words of common distributions."""
WORD = re.compile(r"[A-Za-z0-9_-]{1,80}")
TRUNK = re.compile(r"[^\s/,]+/[^\s,]+")


class CallSettings(RingledgerEvent, frozen=True):
    """The settings that read calls from here on in the log, for every PBX; the event itself belongs to no PBX.

    ``trunks`` are patterns of endpoints (``PJSIP/provider*``). ``queue_events`` maps words that dialplans write with
    QueueLog() to outcomes; it is complete, so that a log is read alike after the defaults have changed. The projector
    writes the event when it starts with other settings than the last ones in the log, or than the defaults.
    """

    trunks: tuple[str, ...] = ()
    queue_events: dict[str, QueueOutcome] = field(default_factory=QUEUE_EVENTS.copy)


class CallSettingsEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """CallSettings, as folds read it."""

    trunks: tuple[str, ...] = ()
    queue_events: dict[str, str] = field(default_factory=dict)


def is_trunk(endpoint: str, trunks: Iterable[str]) -> bool:
    """Return whether a pattern matches an endpoint (a channel's name without its last part); case is ignored."""
    return any(_pattern(trunk).fullmatch(endpoint) for trunk in trunks)


def parse_trunks(text: str, errors: list[str]) -> tuple[str, ...]:
    """Return the patterns of a comma separated list; append a message for each invalid one."""
    trunks = tuple(dict.fromkeys(filter(None, (item.strip() for item in text.split(",")))))
    errors += [
        f"{item!r} is not a pattern of endpoints (PJSIP/provider*)" for item in trunks if not TRUNK.fullmatch(item)
    ]
    return trunks


def parse_queue_events(text: str, errors: list[str]) -> dict[str, QueueOutcome]:
    """Return the defaults and the pairs of ``WORD=outcome,...``; append a message for each invalid pair."""
    outcomes: dict[str, QueueOutcome] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        word, _, outcome = (part.strip() for part in item.partition("="))
        matches = [one for one in OUTCOMES if one == outcome]
        if not WORD.fullmatch(word) or not matches:
            errors.append(f"{item!r} is not WORD=outcome; outcomes are {', '.join(OUTCOMES)}")
        elif word in DATA or word in OTHER or word == ATTENDED_TRANSFER:
            errors.append(f"{word} is an event of Asterisk, whose meaning is fixed")
        elif outcomes.setdefault(word, matches[0]) != outcome:
            errors.append(f"{word} has two outcomes, {outcomes[word]} and {outcome}")
    return QUEUE_EVENTS | outcomes


@cache
def _pattern(trunk: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, trunk.split("*"))), re.IGNORECASE | re.DOTALL)
