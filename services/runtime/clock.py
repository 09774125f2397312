"""The machine's two clocks, and full minutes of the wall clock.

Waits and durations use ``monotonic``. ``now`` is for times that are stored or shown, because it may be set back or
forward at any moment.
"""

import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

SLACK_SECONDS = 5.0
"""A slow clock, or one that is set back, delays a full minute by at most this."""
UNKNOWN = "unknown"
EARLY_SECONDS = 1.0
"""A sleep may end this much too early."""


class Clock(Struct, frozen=True):
    """``now`` returns seconds since the epoch, ``monotonic`` those of a clock that is never set."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


CLOCK = Clock()


class FullMinute:
    """The next full minute; a clock that is set back delays it by at most `SLACK_SECONDS`."""

    def __init__(self, clock: Clock = CLOCK) -> None:
        now = clock.now()
        self._at = (now // 60 + 1) * 60
        self._latest = clock.monotonic() + self._at - now + SLACK_SECONDS
        self._clock = clock

    @property
    def left(self) -> float:
        """Seconds until then, 0 or less afterwards."""
        return min(self._at - self._clock.now(), self._latest - self._clock.monotonic())


def current_minute(clock: Clock = CLOCK) -> int:
    """Return the start of the current minute in seconds since the epoch."""
    return int((clock.now() + EARLY_SECONDS) // 60 * 60)


def boot_id() -> str:
    """Return an id of the boot: times of the monotonic clock can be compared while it stays the same."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return UNKNOWN
