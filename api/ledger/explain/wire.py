"""How a refold is told."""

from typing import Any

from api.http.query import stamp
from schemas.log import Recorded
from services.replay.explain import MAX_EVENTS, MAX_POSITIONS, Explanation

INEXACT = (
    "The part of the log that was folded does not come to what is served: what made it stands before, or the log there"
    " is archived."
)
BOUND = f"No more than {MAX_POSITIONS:,} positions are read for one answer, and {MAX_EVENTS:,} events folded."


def event_summary(one: Recorded) -> dict[str, Any]:
    """Return where an event stands, and what and when it was."""
    return {
        "position": one.position,
        "pbx": one.pbx,
        "source": one.source,
        "name": one.name,
        "occurred": stamp(one.at),
    }


def fold_summary(found: Explanation, upto: int) -> dict[str, Any]:
    """Say what was folded, whether it is the whole truth, and up to which position the answer is served."""
    after, until = found.window
    why = None
    if not found.is_exact:
        why = INEXACT if found.is_complete else f"{INEXACT} {BOUND}"
        if found.archive_files:
            why += f" Archived are: {found.archive_files}."
    return {
        "exact": found.is_exact,
        **({"why": why} if why else {}),
        "folded": {"after": after, "upto": until, "events": found.event_count},
        "position": upto,
    }
