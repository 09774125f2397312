"""Pauses between attempts, longer after each failure."""

import math
import random

from msgspec import Struct

MAX_DOUBLINGS = 10


class Backoff(Struct, frozen=True):
    """Pauses in seconds that double from ``first`` to ``last``; ``attempt`` counts the failures before a pause."""

    first: float
    last: float

    def longest(self, attempt: int) -> float:
        """Return the pause without jitter."""
        return min(self.last, math.ldexp(self.first, min(attempt, MAX_DOUBLINGS)))

    def pause(self, attempt: int) -> float:
        """Return a pause between half of the longest and the longest one, so that clients do not retry in step."""
        longest = self.longest(attempt)
        return random.uniform(longest / 2, longest)  # noqa: S311 (jitter)
