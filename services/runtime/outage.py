"""Outages in the log of a process: one line at the start, one a minute, and one at the end."""

import time
from collections.abc import Callable
from typing import Any

import structlog

LINE_SECONDS = 60.0
QUIET_SECONDS = 5.0
"""An outage ends after this long without a failure: a server that comes and goes causes one outage."""


class Outage:
    """One kind of outage. It logs failures as ``event``: the first at once, later ones once a minute with their number.

    It logs the end of the outage as ``end``, with its duration in seconds as ``after``.
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
        """Record a failure; its log line has these fields."""
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
        """Record a success, which ends the outage if the last failure is ``quiet_seconds`` ago."""
        if self._since is not None and self._clock() - self._last >= quiet_seconds:
            self._log.warning(self._end, after=round(self._clock() - self._since, 1), failures=self._failures)
            self._since, self._failures = None, 0
