"""Converts the local times of Cdr events, which have no zone, to UTC.

The headers of a Cdr bound its zone: it was posted (Timestamp, UTC) after it ended (EndTime, local), and its channel
was created (UniqueID begins with the UTC second) before it started (StartTime, local). So

    EndTime - Timestamp  <=  offset  <=  StartTime - UniqueID

and for most records only one offset that is in use anywhere fits. More than one fits a leg of a call with an hour or
more before or after it: legs are posted when the whole call is over. The same is true of a channel whose unique id
has no time (an originate may choose it). Such a record takes the offset of the last unambiguous record.
Before the first one it takes the likeliest: its call started with its channel, or it was posted promptly.

Without a Timestamp only the listener's clock shows when a record was posted. The two clocks may differ by any amount.
Then the PBX's own times decide: a call that started with its channel gives the offset, and others take the last one.

A change to or from summer time during the call shows in Duration, which is in true seconds. A leg of such a long call
remains undecided among the first records after a change, and as the first record of a log.
"""

import re
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from msgspec import Struct

from schemas.ami.cdr import Cdr

HOURS = (-9.5, -3.5, -2.5, 3.5, 4.5, 5.5, 5.75, 6.5, 8.5, 8.75, 9.5, 10.5, 12.75, 13.75, *range(-12, 15))
OFFSETS = tuple(sorted(int(hours * 3600) for hours in HOURS))
"""All offsets from UTC in use, in seconds."""

CREATION_SECONDS = re.compile(r"(?:^|-)(\d{9,11})\.\d+$")
CLOCK_STEP_SECONDS = 2
"""How far, in seconds, an NTP client may have moved the PBX's clock between two of a record's times."""
MAX_SKEW_SECONDS = 300
"""How far the PBX's clock and the listener's may differ, for a record without a Timestamp."""
BATCH_SECONDS = 300
"""Seconds after which cdr.conf's batches are posted by default."""
MAX_SHIFT_SECONDS = 3 * 3600


class Times(Struct, frozen=True):
    """A record's times in UTC; ``offset`` is local minus UTC at its end, in seconds."""

    start: datetime
    answer: datetime | None
    end: datetime
    offset: int


def times(memory: dict[str, Any], e: Cdr) -> Times:
    """Return the record's times; ``memory`` holds the PBX's last certain offset. Raises ValueError for a bad time."""
    start = local(e.start_time)
    end = local(e.end_time) if e.end_time else start + e.duration
    shift = _shift(end - start - e.duration)
    if e.log_source == "cdr_csv":
        offset = end - int(e.at.timestamp())  # the import has the time zone
    else:
        made = made_at(e.unique_id) or made_at(e.linked_id)
        lowest = end - int(e.at.timestamp()) - (CLOCK_STEP_SECONDS if e.timestamp else MAX_SKEW_SECONDS)
        highest = start - made + shift + CLOCK_STEP_SECONDS if made else None
        offset = _offset(memory, lowest, highest) if e.timestamp else _unstamped(memory, lowest, highest)
    began = start - offset + shift
    answer = local(e.answer_time) - offset if e.answer_time else None
    if (
        answer is not None
        and shift
        and abs(answer + shift - _answered(e, end - offset)) < abs(answer - _answered(e, end - offset))
    ):
        answer += shift
    return Times(_utc(began), None if answer is None else _utc(answer), _utc(end - offset), offset)


def _unstamped(memory: dict[str, Any], lowest: int, highest: int | None) -> int:
    if close := _close(highest):
        memory["offset"] = close[0]
        return close[0]
    last = memory.get("offset")
    if last is not None and (highest is None or last <= highest):
        return int(last)
    return _offset(memory, lowest, highest)


def _close(highest: int | None) -> list[int]:
    """Return the offset by which the call started when its channel was created, if there is one."""
    return [] if highest is None else _between(highest - 2 * CLOCK_STEP_SECONDS, highest)


def _between(lowest: int, highest: int | None) -> list[int]:
    """Return the offsets of a range, both ends included."""
    return list(OFFSETS[bisect_left(OFFSETS, lowest) : None if highest is None else bisect_right(OFFSETS, highest)])


def _offset(memory: dict[str, Any], lowest: int, highest: int | None) -> int:
    possible = _between(lowest, highest)
    if len(possible) == 1:
        memory["offset"] = possible[0]
        return possible[0]
    last = memory.get("offset")
    if not possible:
        # Either the unique id or that clock is wrong: the id counts if the call started with its channel.
        close = _close(highest)
        later = _between(lowest, None)
        return close[0] if close else later[0] if later else int(last or 0)
    if last in possible:
        return int(last)
    if highest is not None and highest - possible[-1] <= 2 * CLOCK_STEP_SECONDS:
        return possible[-1]  # most calls start with their channel
    return (
        possible[0] if highest is None or possible[0] - lowest <= BATCH_SECONDS + CLOCK_STEP_SECONDS else possible[-1]
    )


def _shift(seconds: int) -> int:
    """Return the seconds by which the clock was set forward (back: negative) during the call, 0 for no change."""
    shift = round(seconds / 900) * 900
    return shift if abs(seconds - shift) <= CLOCK_STEP_SECONDS and abs(shift) <= MAX_SHIFT_SECONDS else 0


def _answered(e: Cdr, end: int) -> int:
    return end - e.billable_seconds


def made_at(unique_id: str) -> int:
    """Return the second, UTC, at which the channel was created, 0 if its unique id has no time."""
    match = CREATION_SECONDS.search(unique_id)
    return int(match[1]) if match else 0


@lru_cache(1024)
def local(text: str) -> int:
    """Return a local time as if it were UTC, in seconds since the epoch. Raises ValueError."""
    when = datetime.fromisoformat(text).replace(tzinfo=UTC)
    if not 1970 < when.year < 9000:
        raise ValueError(f"{text} is not the time of a call")
    return int(when.timestamp())


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
