"""Lines of queue_log as events of the log, as the import appends them."""

from collections.abc import Iterable

from schemas.log import NewEvent
from schemas.queue_log import log_name


def queue_log_events(text: str) -> list[NewEvent]:
    """Return the events of a file's text, in its order."""
    return [queue_log_event(line) for line in text.splitlines() if line.strip()]


def queue_log_event(line: str) -> NewEvent:
    """Return the event of one line."""
    at, _, _, _, event, *_ = line.strip().split("|")
    return NewEvent("queue_log", log_name(event), float(at), float(at), f"{line.strip()}\n".encode())


def by_time(*sources: Iterable[NewEvent]) -> list[NewEvent]:
    """Return the events of several sources in the order of their times; those of one source keep their order."""
    return sorted((event for events in sources for event in events), key=lambda event: event.recorded)
