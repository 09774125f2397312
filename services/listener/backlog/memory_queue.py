"""The part of a backlog in memory."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from schemas.log import NewEvent


class MemoryQueue:
    """Events in order; ``first`` is the ordinal of the oldest, ``bytes`` the size of all."""

    def __init__(self) -> None:
        self.events: deque[NewEvent] = deque()
        self.bytes = 0
        self.first = 1

    def __len__(self) -> int:
        return len(self.events)

    def put(self, events: Sequence[NewEvent]) -> None:
        """Add events at the end."""
        self.events.extend(events)
        self.bytes += sum([len(e.raw) for e in events])

    def slice(self, start: int, stop: int) -> list[NewEvent]:
        """Return the events from index ``start`` to ``stop``, as many as there are."""
        return list(islice(self.events, start, stop))

    def drop(self, count: int) -> None:
        """Remove the oldest events."""
        for _ in range(count):
            self.bytes -= len(self.events.popleft().raw)
        self.first += count

    def replace_first(self, event: NewEvent) -> None:
        """Replace the oldest event."""
        self.bytes += len(event.raw) - len(self.events[0].raw)
        self.events[0] = event

    def discard_after(self, when: float) -> int:
        """Remove the events recorded after a time (seconds since the epoch); return their number."""
        earlier = [e for e in self.events if e.recorded <= when]
        count = len(self.events) - len(earlier)
        self.events = deque(earlier)
        self.bytes = sum([len(e.raw) for e in earlier])
        return count
