"""The times in which AMI itself reports the sessions of agents: then lines of queue_log add nothing.

They begin with a complete list and end when the link is lost. Lines of queue_log count in between: a session that they
begin there ends at the next list at the latest. Times are seconds since the epoch.
"""

from datetime import UTC, datetime
from typing import Any

LISTS = ("QueueStatus", "Agents")
"""The lists that name members of queues with their pauses, and agents of app_agent_pool."""
SPANS = 100
"""How many times are kept of a PBX and list; before the first of them the lines count."""


def begin_span(memory: dict[str, Any], action: str, at: datetime) -> bool:
    """Note that a list is complete; return False where AMI has reported since an earlier one."""
    spans = memory.get("spans", {}).get(action, [])
    if spans and spans[-1][1] is None:
        return False
    since = at.timestamp()
    if spans and since < spans[-1][1]:
        since = spans[-1][1]
    memory["spans"] = {**memory.get("spans", {}), action: [*spans, [since, None]][-SPANS:]}
    return True


def end_spans(memory: dict[str, Any], at: datetime) -> None:
    """Note that the link is lost."""
    spans = memory.get("spans", {})
    if any(one[-1][1] is None for one in spans.values()):
        memory["spans"] = {
            action: [*one[:-1], [one[-1][0], max(at.timestamp(), one[-1][0])]] if one[-1][1] is None else one
            for action, one in spans.items()
        }


def is_covered(memory: dict[str, Any], action: str, at: datetime) -> bool:
    """Return whether AMI reports at a time."""
    seconds = at.timestamp()
    spans = memory.get("spans", {}).get(action, ())
    return any(since <= seconds and (until is None or seconds < until) for since, until in spans)


def gap_at(memory: dict[str, Any], action: str, at: datetime) -> float:
    """Return the start of the last time of AMI before a time, 0 for none: it names the gap in which the time lies."""
    seconds = at.timestamp()
    return max((float(since) for since, _ in memory.get("spans", {}).get(action, ()) if since <= seconds), default=0.0)


def next_span(memory: dict[str, Any], action: str, after: datetime) -> datetime | None:
    """Return when AMI next reports after a time, None if it does not."""
    seconds = after.timestamp()
    spans = memory.get("spans", {}).get(action, ())
    since = min((float(since) for since, _ in spans if since >= seconds), default=None)
    return None if since is None else datetime.fromtimestamp(since, UTC)
