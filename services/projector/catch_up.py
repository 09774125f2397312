"""How many events models that are behind may fold between two batches of the foremost ones."""

TARGET_SECONDS = 0.04
"""How long a step of models that are behind should delay those ahead."""
TURN_SECONDS = 1.0
"""When those ahead cannot keep up themselves, the others get one step in this time."""
MIN_EVENTS = 50
FIRST_EVENTS = 500


class CatchUpBudget:
    """The size of the next step of models that are behind, derived from the duration of their last one."""

    def __init__(self) -> None:
        self._events = FIRST_EVENTS
        self._next = 0.0

    def step(self, limit: int, now: float, *, busy: bool) -> int:
        """Return the number of events, 0 when it is not their turn; ``busy``: the foremost have more to fold."""
        return 0 if busy and now < self._next else min(limit, self._events)

    def record(self, events: int, began: float, ended: float) -> None:
        """Record the size and the duration of a step."""
        seconds = max(ended - began, 0.001)
        if seconds > TARGET_SECONDS:
            self._events = max(MIN_EVENTS, int(events * TARGET_SECONDS / seconds))
        elif events >= self._events:  # a shorter step does not show how long a longer one takes
            self._events = min(2 * self._events, int(events * TARGET_SECONDS / seconds))
        self._next = ended + TURN_SECONDS
