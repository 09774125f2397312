"""Slows down who guesses passwords: each failure of one user from one address doubles the time until the next try."""

import time
from collections import OrderedDict
from collections.abc import Callable

FREE = 4
"""Failures before anybody has to wait: people mistype."""
LONGEST_SECONDS = 300.0
REMEMBERED = 10_000


class Throttle:
    """Failures by key; forgets a key after a success, or long after its last failure."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def wait(self, key: tuple[str, str]) -> float:
        """Return how many seconds this key has to wait before its next try; 0 when it may try."""
        failures, last = self._failures.get(key, (0, 0.0))
        if failures < FREE:
            return 0.0
        return max(0.0, last + min(LONGEST_SECONDS, 2.0 ** (failures - FREE)) - self._clock())

    def failed(self, key: tuple[str, str]) -> None:
        """Count a failure."""
        now = self._clock()
        failures, last = self._failures.pop(key, (0, now))
        self._failures[key] = (failures + 1 if now - last < 2 * LONGEST_SECONDS else 1, now)
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, key: tuple[str, str]) -> None:
        """Forget the failures."""
        self._failures.pop(key, None)
