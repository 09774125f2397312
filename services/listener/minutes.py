"""One event per minute and PBX in the log: how the link is, and how much it has received since the last one."""

import asyncio
from collections.abc import Callable, Sequence

from schemas.log import Minute, RingledgerEvent
from services.asterisk.ami.protocol import LedgerProtocol
from services.runtime.clock import Clock, FullMinute, current_minute

Counts = Sequence[int]
"""Events, rejected blocks, rejected bytes."""


def counts_of(link: LedgerProtocol | None) -> Counts:
    """Return the counts of a link, zeros without one."""
    return (link.events, link.rejected_blocks, link.rejected_bytes) if link else (0, 0, 0)


def add_counts(some: Counts, others: Counts) -> Counts:
    """Return the sums of two counts."""
    return tuple(one + other for one, other in zip(some, others, strict=True))


async def write_minutes(
    clock: Clock, total: Callable[[], Counts], is_up: Callable[[], bool], write: Callable[[RingledgerEvent], None]
) -> None:
    """Write `Minute` at every full minute until cancelled; ``total`` returns the counts since the start."""
    counted, written = total(), current_minute(clock)
    while True:
        due = FullMinute(clock)
        await asyncio.sleep(max(0.0, due.left))
        minute = current_minute(clock)
        if minute == written:
            continue  # the clock was set back within the minute
        written = minute
        now = total()
        events, blocks, rejected = (new - old for new, old in zip(now, counted, strict=True))
        counted = now
        write(Minute(minute, "up" if is_up() else "down", events, blocks, rejected))
