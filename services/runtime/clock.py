"""The machine's two clocks, and full minutes by the one that may be set.

Whatever waits, or asks how long something has lasted, uses ``passed``. ``now`` is for times that are written down or
shown; it may be set back or forward at any moment.
"""

import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

SLACK_SECONDS = 5.0
"""A clock that goes slowly, or is set back by less, may put a full minute off by so much."""
UNKNOWN = "unknown"
EARLY_SECONDS = 1.0
"""A sleep may end so long before its time."""


class Clock(Struct, frozen=True):
    """``now`` gives seconds since the epoch, ``passed`` seconds that only ever rise (the monotonic clock)."""

    now: Callable[[], float] = time.time
    passed: Callable[[], float] = time.monotonic


CLOCK = Clock()


class FullMinute:
    """The next full minute, which a clock that is set back does not put off by more than `SLACK_SECONDS`."""

    def __init__(self, clock: Clock = CLOCK) -> None:
        now = clock.now()
        self._at = (now // 60 + 1) * 60
        self._latest = clock.passed() + self._at - now + SLACK_SECONDS
        self._clock = clock

    @property
    def left(self) -> float:
        """How many seconds are left, 0 or less once it has come."""
        return min(self._at - self._clock.now(), self._latest - self._clock.passed())


def minute_of(clock: Clock = CLOCK) -> int:
    """Return the full minute that has begun (seconds since the epoch)."""
    return int((clock.now() + EARLY_SECONDS) // 60 * 60)


def boot_id() -> str:
    """Return what is another after each boot; times of the monotonic clock may be compared while it stays."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return UNKNOWN
