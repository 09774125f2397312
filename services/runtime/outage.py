"""An outage of PostgreSQL in the log of a process: its beginning, a line a minute, and its end."""

import time
from collections.abc import Callable
from typing import Any

import structlog

LINE_SECONDS = 60.0
QUIET_SECONDS = 5.0
"""An outage has ended when there was no failure for so long: a server that comes and goes is one outage."""


class Outage:
    """Logs failures as ``event``: the first at once, the others once a minute with their number (``failures``).

    ``end`` is the event that ends the outage; ``after`` is how many seconds it lasted.
    """

    def __init__(self, event: str, end: str, clock: Callable[[], float] = time.monotonic, **fields: Any) -> None:
        self._event = event
        self._end = end
        self._clock = clock
        self._log = structlog.get_logger().bind(**fields)
        self._since: float | None = None
        self._last = 0.0
        self._line = 0.0
        self._failures = 0

    def fail(self, error: BaseException, **fields: Any) -> None:
        """Take a failure; ``fields`` are those of its line."""
        self._last = self._clock()
        self._failures += 1
        if self._since is None:
            self._since = self._last
        elif self._last - self._line < LINE_SECONDS:
            return
        self._line = self._last
        self._log.warning(self._event, failures=self._failures, error=repr(error), **fields)
        self._failures = 0

    def recover(self, *, quiet_seconds: float = QUIET_SECONDS) -> None:
        """Take a success: it ends the outage if there was no failure for ``quiet_seconds``."""
        if self._since is not None and self._clock() - self._last >= quiet_seconds:
            self._log.warning(self._end, after=round(self._clock() - self._since, 1), failures=self._failures)
            self._since, self._failures = None, 0
