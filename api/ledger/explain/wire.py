"""The JSON of an explanation."""

from typing import Any

from schemas.log import RecordedEvent
from services.log.times import rfc3339_microseconds
from services.replay.explain import MAX_EVENTS, MAX_POSITIONS, Explanation

INEXACT = (
    "The folded part of the log does not give the served rows: the events that made them are earlier, or are archived."
)
BOUND = f"One response reads at most {MAX_POSITIONS:,} positions, and folds at most {MAX_EVENTS:,} events."


def event_summary(one: RecordedEvent) -> dict[str, Any]:
    """Return the position, the name and the time of an event."""
    return {
        "position": one.position,
        "pbx": one.pbx,
        "source": one.source,
        "name": one.name,
        "occurred": rfc3339_microseconds(one.at),
    }


def fold_summary(refolded: Explanation, position: int) -> dict[str, Any]:
    """Return which events were folded, whether they explain the rows, and the position of the rows."""
    after, until = refolded.window
    why = None
    if not refolded.is_exact:
        why = INEXACT if refolded.is_complete else f"{INEXACT} {BOUND}"
        if refolded.archive_files:
            why += f" The archives are: {refolded.archive_files}."
    return {
        "exact": refolded.is_exact,
        **({"why": why} if why else {}),
        "folded": {"after": after, "upto": until, "events": refolded.event_count},
        "position": position,
    }
