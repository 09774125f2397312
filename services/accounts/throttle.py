"""Waits after failed logins: each failure doubles the time until the next try."""

import time
from collections.abc import Callable, Hashable

from cachetools import LRUCache

FREE_FAILURES = 4
"""The failures that one client has at one user before it must wait: people mistype."""
MAX_WAIT_SECONDS = 300.0
FREE_FAILURES_OF_USER = 16
"""The same for all clients together that never logged in as this user."""
MAX_USER_WAIT_SECONDS = 30.0
"""A low limit, because the user may log in from a new address during guesses."""
MAX_KEYS = 10_000
MAX_NAME_LENGTH = 256


class Failures:
    """Failures by key; a key without failures for a long time starts again."""

    def __init__(self, free: int, longest: float) -> None:
        self._free = free
        self._longest = longest
        self._failures: LRUCache[Hashable, tuple[int, float]] = LRUCache(MAX_KEYS)

    def wait(self, key: Hashable, now: float) -> float:
        """Return the seconds before this key may try again; 0 when it may try now."""
        failures, last = self._failures.get(key, (0, 0.0))
        if failures < self._free:
            return 0.0
        # Above a thousand, the power would exceed a float.
        return max(0.0, last + min(self._longest, 2.0 ** min(failures - self._free, 64)) - now)

    def add(self, key: Hashable, now: float) -> None:
        """Count a failure."""
        failures, last = self._failures.get(key, (0, now))
        self._failures[key] = (failures + 1 if now - last < 2 * MAX_WAIT_SECONDS else 1, now)

    def forget(self, key: Hashable) -> None:
        """Forget the failures."""
        self._failures.pop(key, None)


class Throttle:
    """Failed logins, by user and client, and by user alone.

    A client that logged in as the user before (``is_known``) is slowed by its own failures only.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._of_clients = Failures(FREE_FAILURES, MAX_WAIT_SECONDS)
        self._of_users = Failures(FREE_FAILURES_OF_USER, MAX_USER_WAIT_SECONDS)

    def wait(self, username: str, client: str, *, is_known: bool) -> float:
        """Return the seconds before this client may try this user again; 0 when it may try now."""
        now, name = self._clock(), username[:MAX_NAME_LENGTH]
        seconds = self._of_clients.wait((name, client), now)
        return seconds if is_known else max(seconds, self._of_users.wait(name, now))

    def failed(self, username: str, client: str, *, is_known: bool) -> None:
        """Count a failure."""
        now, name = self._clock(), username[:MAX_NAME_LENGTH]
        self._of_clients.add((name, client), now)
        if not is_known:
            self._of_users.add(name, now)

    def succeeded(self, username: str, client: str) -> None:
        """Forget the client's failures at this user."""
        self._of_clients.forget((username[:MAX_NAME_LENGTH], client))
