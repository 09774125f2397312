"""Whose turn it is when some models are behind the others."""

STEP_SECONDS = 0.04
"""How long a step of those behind should hold up those ahead."""
TURN_SECONDS = 1.0
"""When those ahead cannot keep up themselves, the others have one step in this time."""
LEAST = 50
FIRST = 500


class CatchUpBudget:
    """How many events those behind may take between two batches of the foremost, by what their last step took."""

    def __init__(self) -> None:
        self._events = FIRST
        self._next = 0.0

    def step(self, limit: int, now: float, *, busy: bool) -> int:
        """Return how many, 0 when it is not their turn; ``busy``: the foremost have more to do at once."""
        return 0 if busy and now < self._next else min(limit, self._events)

    def took(self, events: int, began: float, ended: float) -> None:
        """Take note of a step."""
        seconds = max(ended - began, 0.001)
        if seconds > STEP_SECONDS:
            self._events = max(LEAST, int(events * STEP_SECONDS / seconds))
        elif events >= self._events:  # one that was cut short says nothing about longer ones
            self._events = min(2 * self._events, int(events * STEP_SECONDS / seconds))
        self._next = ended + TURN_SECONDS
